"""Publishes shards as an immutable version: an index of all samples, and a manifest that names every shard by checksum.

The version's id is a hash of its shards' checksums, so the same content gives the same version and nothing is
written. The index is written before the manifest, and both by renaming: a version whose manifest can be read is complete.
A manifest is never replaced: of several runs that publish the same content at once, the first one's stands.
"""

import json
import os
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
from pydantic import ValidationError

from data_schemas import SCHEMA_VERSION
from data_schemas.errors import UserError
from data_schemas.identity import content_id, file_sha256
from data_schemas.pairs import Shard
from data_schemas.samples import SampleIndex
from data_schemas.storage import FileSizes
from data_schemas.versions import LATEST, LATEST_SUFFIX, Manifest, ShardFile, latest_version_id
from data_schemas.whole_files import move_if_absent, replacing, temporary
from pipelines.engine.files import check_name, inside
from pipelines.engine.lake import Lake
from pipelines.shards.writer import PackedSample, index_path, write_rows


def publish(
    lake: Lake, dataset: str, shards: Sequence[Shard], stage_keys: Mapping[str, str], recipe: dict
) -> tuple[Manifest, bool]:
    """Publish shards of one data set.

    Returns:
        The manifest, and whether the version is new.

    Raises:
        UserError: there is nothing to publish, a shard's file is gone or has another size, or the lake cannot be
            written to.
    """
    root = lake.folder
    check_name("data set", dataset)
    if not shards:
        raise UserError(
            f"There is nothing to publish for {dataset}: no pair or demonstration was accepted; "
            f"`harp status --lake {shlex.quote(str(lake.root))}` says why."
        )
    check_shards(root, shards)
    files = [
        ShardFile(path=s.path, sha256=s.sha256, num_bytes=s.num_bytes, num_samples=s.num_samples)
        for s in sorted(shards, key=lambda s: s.path)
    ]
    version_id = content_id(
        "version",
        str(SCHEMA_VERSION),
        dataset,
        *(part for file in files for part in (file.path, file.sha256)),
    )
    folder = root / "versions" / version_id
    is_new = not (folder / "manifest.json").exists()
    if is_new:
        samples = [sample for file in files for sample in _packed_samples(root, file.path)]
        with lake.writing(), replacing(folder / "index.parquet") as draft:
            write_rows(draft, SampleIndex, samples)
        manifest = Manifest(
            version_id=version_id,
            dataset=dataset,
            created_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            shards=files,
            index_sha256=file_sha256(folder / "index.parquet"),
            stage_keys=dict(stage_keys),
            recipe=recipe,
            licenses=dict(sorted(Counter(sample.license for sample in samples).items())),
            counts=_counts(samples),
        )
        with lake.writing(), temporary(folder) as draft:
            draft.write_text(manifest.model_dump_json(indent=1))
            is_new = move_if_absent(draft, folder / "manifest.json")
    _point_latest(lake, dataset, version_id)
    return load_manifest(lake, version_id), is_new


def is_published(lake: Lake, version_id: str) -> bool:
    """Whether the version stands."""
    return (lake.folder / "versions" / check_name("version", version_id) / "manifest.json").exists()


def publish_again(lake: Lake, version_id: str) -> Manifest:
    """Make a version that stands its data set's latest.

    Raises:
        UserError: a shard's file is gone or has another size, or the lake cannot be written to.
    """
    manifest = load_manifest(lake, version_id)
    check_shards(lake.folder, manifest.shards)
    _point_latest(lake, manifest.dataset, version_id)
    return manifest


def load_manifest(lake: Lake, version: str = LATEST, dataset: str | None = None) -> Manifest:
    """A published version.

    Args:
        version: its id, or `latest`: the one published last, also when its content had been published before.
        dataset: whose latest; needed where the lake has several.

    Raises:
        UserError: there is no such version, or its manifest cannot be read.
    """
    root = lake.folder
    if version == LATEST:
        version = latest_version_id(root, dataset)
    path = root / "versions" / check_name("version", version) / "manifest.json"
    try:
        return Manifest.model_validate_json(path.read_text())
    except FileNotFoundError:
        known = ", ".join(manifest.version_id for manifest in list_versions(lake)[:5]) or "none yet"
        raise UserError(f"The lake {root} has no version {version!r}; it has: {known}.") from None
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise UserError(f"{path} is not a valid manifest: '{where}' {problem['msg'].lower()}.") from None


def list_versions(lake: Lake) -> list[Manifest]:
    """All published versions, the newest first."""
    folders = (path.parent.name for path in lake.folder.glob("versions/*/manifest.json"))
    return sorted((load_manifest(lake, name) for name in folders), key=lambda m: m.created_at, reverse=True)


def check_shards(root: Path, shards: Iterable[Shard | ShardFile]) -> None:
    """Refuse shards whose file is not there. Folders are looked at once: a lake may have 10,000 shards.

    Raises:
        UserError: a shard's file is gone or has another size.
    """
    folders: dict[str, FileSizes] = {}
    for shard in shards:
        name, folder = os.path.basename(shard.path), os.path.dirname(shard.path)
        if folder not in folders:
            folders[folder] = FileSizes(inside(root, folder))
        path, found = f"{root}/{shard.path}", folders[folder].get(name)
        if found != shard.num_bytes:
            state = "is missing" if found is None else f"has {found} bytes instead of {shard.num_bytes}"
            raise UserError(f"The shard {path} {state}: restore it, or curate into a new lake.")


def _packed_samples(root: Path, shard: str) -> list[PackedSample]:
    path = index_path(root, shard)
    if not path.is_file():
        raise UserError(f"The index {path} is missing: restore it, or curate into a new lake.")
    with path.open("rb") as file:
        return [PackedSample.from_record(record) for record in pq.read_table(file).to_pylist()]


def _counts(samples: Sequence[PackedSample]) -> dict[str, int]:
    subjects = Counter((kind, split) for _, kind, split in {(s.subject_id, s.kind, s.split) for s in samples})
    kinds = Counter({kind: 0 for kind in ("pair", "human", "robot")})
    for (kind, _), number in subjects.items():
        kinds[kind] += number
    return {
        "pairs": kinds["pair"],
        "human": kinds["human"],
        "robot": kinds["robot"],
        "samples": len(samples),
        "frames": sum(sample.num_frames for sample in samples),
        "train_pairs": subjects["pair", "train"],
        "held_out_pairs": subjects["pair", "held_out"],
    }


def _point_latest(lake: Lake, dataset: str, version_id: str) -> None:
    with lake.writing(), replacing(lake.folder / "versions" / f"{dataset}{LATEST_SUFFIX}") as draft:
        draft.write_text(json.dumps({"version_id": version_id}))
