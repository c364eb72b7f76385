"""A published version as training sees it: subjects made of segments, with their place in the shards."""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, cast

import pyarrow.parquet as pq
from pydantic import ValidationError

from data_schemas import SCHEMA_VERSION
from data_schemas.errors import UserError
from data_schemas.identity import file_sha256
from data_schemas.samples import SampleIndex
from data_schemas.storage import everywhere, location
from data_schemas.versions import LATEST, Manifest, ShardFile, latest_version_id

Kind = Literal["pair", "human", "robot"]
Split = Literal["train", "held_out"]

REPEATED = ("shard", "kind", "split", "dataset", "subject_id", "instruction", "task")
"""Columns of the index with the same text in many rows."""


@dataclass(frozen=True)
class Subject:
    """A pair, or a single demonstration, with all its segments in order; frames count through all of them."""

    segments: tuple[SampleIndex, ...]

    @property
    def subject_id(self) -> str:
        return self.segments[0].subject_id

    @property
    def kind(self) -> Kind:
        return cast(Kind, self.segments[0].kind)

    @property
    def sides(self) -> tuple[str, ...]:
        return ("human", "robot") if self.kind == "pair" else (self.kind,)

    @property
    def instruction(self) -> str:
        return self.segments[0].instruction

    @property
    def fps(self) -> float:
        return self.segments[0].fps

    @cached_property
    def num_frames(self) -> int:
        return sum(segment.num_frames for segment in self.segments)

    def locate(self, frame: int) -> tuple[SampleIndex, int]:
        """(segment, frame within it) of frame 0…num_frames-1."""
        for segment in self.segments:
            if 0 <= frame < segment.num_frames:
                return segment, frame
            frame -= segment.num_frames
        raise IndexError(f"{self.subject_id} has {self.num_frames} frames")


@dataclass(frozen=True)
class PublishedVersion:
    """Manifest and index of one version; the folder is `<lake>/versions/<version_id>`."""

    folder: Path
    manifest: Manifest
    samples: tuple[SampleIndex, ...]
    others: tuple["PublishedVersion", ...] = ()
    """Versions of the same lake that are read beside this one; subjects and samples do not count theirs."""

    @classmethod
    def open(cls, folder: Path, others: Sequence[str] = ()) -> "PublishedVersion":
        """Read manifest and index, and check that they belong together.

        Args:
            folder: `<lake>/versions/<version_id>`.
            others: ids of more versions of the lake, for training on a mixture.

        Raises:
            UserError: no version there, a newer schema, or an index that is not the published one.
        """
        path = folder / "manifest.json"
        try:
            manifest = Manifest.model_validate_json(path.read_text())
        except FileNotFoundError:
            raise UserError(
                f"{folder} is no published version: it has no manifest.json; "
                "give the folder <lake>/versions/<version id>."
            ) from None
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(part) for part in problem["loc"])
            raise UserError(f"{path} is not a valid manifest: '{where}' {problem['msg'].lower()}.") from None
        if manifest.schema_version != SCHEMA_VERSION:
            raise UserError(
                f"Version {manifest.version_id} has schema {manifest.schema_version}, this HARP reads schema "
                f"{SCHEMA_VERSION}; publish the version again."
            )
        index = folder / "index.parquet"
        if not index.is_file() or file_sha256(index) != manifest.index_sha256:
            state = "has changed since it was published" if index.is_file() else "is missing"
            raise UserError(f"{index} {state}; publish the version again, or copy it again from its source.")
        # By its name, as `versions` may be a link to another disk; unless the folder itself is reached by a link.
        folder = everywhere(folder) if everywhere(folder).parent.name == "versions" else folder.resolve()
        lake = folder.parents[1]
        return cls(
            folder,
            manifest,
            tuple(_rows(index)),
            tuple(cls.open(version_folder(lake, other)) for other in others if other != manifest.version_id),
        )

    @property
    def lake(self) -> Path:
        """Root that the paths of shards are relative to."""
        return self.folder.parents[1]

    @property
    def version_id(self) -> str:
        return self.manifest.version_id

    @property
    def parts(self) -> tuple["PublishedVersion", ...]:
        """This version and the others."""
        return (self, *self.others)

    def part(self, version_id: str | None) -> "PublishedVersion":
        """This version (None), or one of the others.

        Raises:
            UserError: that version was not opened beside this one.
        """
        wanted = version_id or self.version_id
        for part in self.parts:
            if part.version_id == wanted:
                return part
        raise UserError(f"Version {wanted} was not opened beside version {self.version_id}.")

    @cached_property
    def shard_files(self) -> dict[str, ShardFile]:
        """Shards of the manifest, and of the others', by path."""
        return {shard.path: shard for part in self.parts for shard in part.manifest.shards}

    @cached_property
    def _subjects(self) -> tuple[Subject, ...]:
        segments: dict[str, list[SampleIndex]] = defaultdict(list)
        for sample in self.samples:
            segments[sample.subject_id].append(sample)
        return tuple(
            Subject(tuple(sorted(segments[subject_id], key=lambda sample: sample.segment)))
            for subject_id in sorted(segments)
        )

    def subjects(self, split: Split, *kinds: Kind) -> list[Subject]:
        """Subjects of a split, of the given kinds or of all, ordered by id."""
        return [s for s in self._subjects if s.segments[0].split == split and (not kinds or s.kind in kinds)]

    def describe(self) -> str:
        """One line for logs."""
        counts = Counter((s.kind, s.segments[0].split) for s in self._subjects)
        parts = (f"{number} {kind} ({split})" for (kind, split), number in sorted(counts.items()))
        return f"version {self.version_id}: {', '.join(parts)}"


def _rows(index: Path) -> Iterator[SampleIndex]:
    """Rows of an index; texts that repeat are kept once, which halves a large index in memory."""
    with index.open("rb") as file:
        for batch in pq.ParquetFile(file).iter_batches():
            for record in batch.to_pylist():
                for name in REPEATED:
                    record[name] = sys.intern(record[name])
                yield SampleIndex.from_record(record)


def version_folder(lake: Path, version: str, dataset: str | None = None) -> Path:
    """Folder of a version given as its id, as `latest`, or as the path of the folder itself.

    Args:
        lake: root of the lake.
        version: which.
        dataset: whose latest; needed where the lake has several.

    Raises:
        UserError: no such version.
    """
    lake = location(lake)
    if (location(version) / "manifest.json").is_file():
        return location(version)
    wanted = latest_version_id(lake, dataset) if version == LATEST else version
    folders = {path.parent.name: path.parent for path in lake.glob("versions/*/manifest.json")}
    if wanted not in folders:
        known = ", ".join(sorted(folders)) or "none yet"
        raise UserError(f"There is no version '{wanted}' in {lake}; its versions are: {known}.")
    return folders[wanted]
