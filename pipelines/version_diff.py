"""What changed from one published version to another: settings, recomputed stages, subjects, shards."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from data_schemas.versions import Manifest
from pipelines.engine.lake import Lake
from pipelines.shards.publish import load_manifest


@dataclass(frozen=True)
class VersionDiff:
    """`before` and `after` are the versions' ids."""

    before: str
    after: str
    settings: dict[str, tuple[Any, Any]]
    """Path of a recipe key -> its two values; None where it was not there."""
    stages: list[str]
    """Stages whose rows are not those of before, in the order they run."""
    counts: dict[str, tuple[int, int]]
    """Counts that differ."""
    licenses: dict[str, tuple[int, int]]
    """Licences whose number of samples differs."""
    added: list[str]
    """Subjects only in `after`."""
    removed: list[str]
    """Subjects only in `before`."""
    moved: list[str]
    """Subjects that changed between train and held out."""
    shared_shards: int
    """Shards with the same bytes in both."""
    shards: tuple[int, int]

    @property
    def is_empty(self) -> bool:
        """Both versions hold the same."""
        return self.before == self.after


def diff_versions(lake: Lake, before: str, after: str, dataset: str | None = None) -> VersionDiff:
    """Compare two versions by id; `latest` stands for the version published last.

    Args:
        dataset: whose latest; needed where the lake has several and `before` is `latest`. For `after` it is by
            default the data set of `before`.

    Raises:
        UserError: there is no such version.
    """
    a = load_manifest(lake, before, dataset)
    b = load_manifest(lake, after, dataset or a.dataset)
    splits_a, splits_b = _splits(lake, a), _splits(lake, b)
    digests_a, digests_b = ({shard.sha256 for shard in m.shards} for m in (a, b))
    return VersionDiff(
        before=a.version_id,
        after=b.version_id,
        settings=changed_settings(a.recipe, b.recipe),
        stages=[name for name, key in b.stage_keys.items() if a.stage_keys.get(name) != key],
        counts=_changes(a.counts, b.counts, 0),
        licenses=_changes(a.licenses, b.licenses, 0),
        added=sorted(splits_b.keys() - splits_a.keys()),
        removed=sorted(splits_a.keys() - splits_b.keys()),
        moved=sorted(i for i in splits_a.keys() & splits_b.keys() if splits_a[i] != splits_b[i]),
        shared_shards=len(digests_a & digests_b),
        shards=(len(a.shards), len(b.shards)),
    )


def changed_settings(a: dict[str, Any], b: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Path of a recipe key -> its values in two recipes, where they differ; None where one has no such key."""
    return _changes(dict(_flat(a)), dict(_flat(b)))


def _splits(lake: Lake, manifest: Manifest) -> dict[str, str]:
    """Subject id -> split."""
    path = lake.folder / "versions" / manifest.version_id / "index.parquet"
    with path.open("rb") as file:
        table = pq.read_table(file, columns=["subject_id", "split"])
    return dict(zip(table["subject_id"].to_pylist(), table["split"].to_pylist(), strict=True))


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings by their dotted path."""
    if isinstance(value, dict) and value:
        for key, child in value.items():
            yield from _flat(child, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _changes(a: dict[str, Any], b: dict[str, Any], absent: Any = None) -> dict[str, tuple[Any, Any]]:
    pairs = {key: (a.get(key, absent), b.get(key, absent)) for key in dict.fromkeys([*a, *b])}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
