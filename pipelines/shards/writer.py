"""Deterministic tars with an index: the same samples give the same bytes, whoever writes them and when.

The tar gets its name from its checksum. Beside it lies a small Parquet file that says where each sample begins,
so that publishing a version reads no tar.
"""

import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from data_schemas.identity import file_sha256
from data_schemas.row import Row
from data_schemas.samples import SampleIndex, SampleInfo
from data_schemas.whole_files import move, replacing, temporary
from pipelines.engine.files import check_name, inside

DIGEST_CHARACTERS = 16
"""Of the sha256 in a shard's name; the manifest has all of it."""


@dataclass(frozen=True)
class PackedSample(SampleIndex):
    """One row of the index beside a tar: `SampleIndex` and what manifests count."""

    TABLE: ClassVar[str] = "packed_samples"

    license: str


@dataclass(frozen=True)
class WrittenShard:
    """A tar and what is in it. `path` is relative to the lake's root."""

    path: str
    sha256: str
    num_bytes: int
    samples: list[PackedSample]


def write_shard(
    root: Path, folder: str, prefix: str, samples: Iterable[tuple[SampleInfo, Mapping[str, bytes]]]
) -> WrittenShard:
    """Write `root/folder/prefix-<digest>.tar` and its index; nothing is visible before it is complete.

    Args:
        samples: with distinct keys, and for each the members by suffix, such as `robot.0000.jpg`; `json` is added
            from the info. One at a time is held in memory.
    """
    with temporary(root / folder) as draft:
        packed: list[tuple[SampleInfo, int, int]] = []
        with (
            draft.open("wb") as file,
            tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            for info, members in samples:
                start = file.tell()
                check_name("sample key", info.key)
                json = info.model_dump_json().encode()
                for suffix, data in sorted({**members, "json": json}.items()):
                    tar.addfile(_header(f"{info.key}.{suffix}", len(data)), BytesIO(data))
                packed.append((info, start, file.tell() - start))
        sha256 = file_sha256(draft)
        path = f"{folder}/{prefix}-{sha256[:DIGEST_CHARACTERS]}.tar"
        rows = [_packed(info, path, start, size) for info, start, size in packed]
        with replacing(index_path(root, path)) as index:
            write_rows(index, PackedSample, rows)
        num_bytes = draft.stat().st_size
        move(draft, root / path)
    return WrittenShard(path, sha256, num_bytes, rows)


def index_path(root: Path, shard: str) -> Path:
    """Where the index of a tar lies."""
    return inside(root, shard).with_suffix(".parquet")


def write_rows(path: Path, row_class: type[Row], rows: Iterable[Row]) -> None:
    """Rows as one Parquet file."""
    records = [row.to_record() for row in rows]
    pq.write_table(pa.Table.from_pylist(records, schema=row_class.schema()), path)


def _header(name: str, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)  # time, owner and group are 0
    header.size, header.mode = size, 0o644
    return header


def _packed(info: SampleInfo, path: str, offset: int, num_bytes: int) -> PackedSample:
    shared = {name: getattr(info, name) for name in PackedSample.schema().names if hasattr(info, name)}
    return PackedSample(shard=path, offset=offset, num_bytes=num_bytes, **shared)
