"""Builds the frozen-feature cache, shard by shard, by one process or by several at once.

Files lie in `<folder>/<encoder identity>/`, one or two `.npy` per shard of a version's training split, named by the
shard's checksum: versions that share a shard share its features. Rows are frames: sample after sample in the order of
the index, for `pooled` (rows, D) float32 the human side of a sample before its robot side, for `tokens` (rows, P, D)
bfloat16 bits as int16 the human side alone.

A shard is claimed by an exclusive lock on a file beside it, which the system gives back when its holder dies, however it
dies. It is written under another name through a map, so memory holds one call of the encoder, and is renamed when
complete. Processes take what nobody has claimed and wait for the rest at the end. Locks hold among machines
where the file system has them (NFS 4 and the usual cluster file systems do).
"""

import fcntl
import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from data_schemas.identity import content_id
from data_schemas.samples import SampleIndex
from harp.data.shards import ShardReader
from harp.data.version import PublishedVersion
from harp.losses.pooling import pool_patches

logger = logging.getLogger(__name__)

Encode = Callable[[torch.Tensor], torch.Tensor]
"""(n, H, W, 3) uint8 RGB frames → (n, P, D) patch tokens of the frozen encoder."""
Progress = Callable[[int, int], None]
"""Called with (samples done, samples in all)."""

FRAMES_PER_CALL = 64
TOKEN_BYTES = 2


def sides(sample: SampleIndex) -> tuple[str, ...]:
    """Sides whose frozen features training needs: a single robot clip is only ever seen adapted."""
    return {"pair": ("human", "robot"), "human": ("human",), "robot": ()}[sample.kind]


@dataclass(frozen=True)
class ShardPlan:
    """What is kept of one shard."""

    shard: str
    stem: str
    """Name of its files."""
    samples: tuple[SampleIndex, ...]

    def rows(self) -> dict[tuple[str, str, str], int]:
        """First row of a sample by (`pooled` or `tokens`, key, side)."""
        first, count = {}, {"pooled": 0, "tokens": 0}
        for sample in self.samples:
            for side in sides(sample):
                for what in count if side == "human" else ("pooled",):
                    first[what, sample.key, side] = count[what]
                    count[what] += sample.num_frames
        return first

    def num_rows(self, what: str) -> int:
        """Frames in a file."""
        return sum(
            sample.num_frames
            for sample in self.samples
            for side in sides(sample)
            if what == "pooled" or side == "human"
        )


@dataclass(frozen=True)
class FeaturePlan:
    """What is kept of a version, and where."""

    folder: Path
    identity: str
    shards: tuple[ShardPlan, ...]
    patches: tuple[int, int]
    """(P, D)."""
    keep_tokens: bool

    @classmethod
    def make(
        cls,
        version: PublishedVersion,
        reader: ShardReader,
        encode: Encode,
        *,
        identity: str,
        folder: Path,
        max_token_bytes: int,
    ) -> "FeaturePlan | None":
        """Plan for all training samples of a version; None where no sample needs frozen features."""
        by_shard: dict[str, list[SampleIndex]] = defaultdict(list)
        for part in version.parts:
            for sample in part.samples:
                if sample.split == "train" and sides(sample):
                    by_shard[sample.shard].append(sample)
        if not by_shard:
            return None
        first = next(iter(by_shard.values()))[0]
        P, D = encode(torch.from_numpy(reader.frames(first, sides(first)[0], [0])))[0].shape
        shards = tuple(
            ShardPlan(
                shard,
                content_id(version.shard_files[shard].sha256, *(s.key for s in samples)),
                tuple(samples),
            )
            for shard, samples in by_shard.items()
        )
        human_frames = sum(shard.num_rows("tokens") for shard in shards)
        keep_tokens = human_frames * P * D * TOKEN_BYTES <= max_token_bytes
        return cls(folder / content_id(identity), identity, shards, (P, D), keep_tokens)

    def path(self, shard: ShardPlan, what: str) -> Path:
        """File of a shard's `pooled` features or `tokens`."""
        return self.folder / f"{shard.stem}.{what}.npy"

    def shape(self, shard: ShardPlan, what: str) -> tuple[int, ...]:
        """(rows, D) or (rows, P, D)."""
        P, D = self.patches
        return (shard.num_rows(what), D) if what == "pooled" else (shard.num_rows(what), P, D)

    def paths(self, shard: ShardPlan) -> list[Path]:
        """All files of a shard."""
        return [
            self.path(shard, what) for what in (("pooled", "tokens") if self.keep_tokens else ("pooled",))
        ]

    def is_built(self, shard: ShardPlan) -> bool:
        """Whether its files are complete."""
        return all(path.is_file() for path in self.paths(shard))

    @property
    def num_bytes(self) -> int:
        """Size of all files on disk."""
        return sum(
            path.stat().st_size for shard in self.shards for path in self.paths(shard) if path.is_file()
        )


@dataclass(frozen=True)
class BuildReport:
    """What one process did."""

    shards_built: int
    shards_in_all: int
    frames: int
    """That this process encoded."""
    seconds: float


def build(
    plan: FeaturePlan, reader: ShardReader, encode: Encode, progress: Progress = lambda done, total: None
) -> BuildReport:
    """Make every missing file of a plan; returns when all are there, also those that other processes make."""
    started = time.perf_counter()
    missing = [shard for shard in plan.shards if not plan.is_built(shard)]
    if missing:
        logger.info("Frozen features of %d shards go to %s", len(missing), plan.folder)
        plan.folder.mkdir(parents=True, exist_ok=True)
        (plan.folder / "encoder.json").write_text(json.dumps({"encoder": plan.identity}))
    total = sum(len(shard.samples) for shard in plan.shards)
    done = total - sum(len(shard.samples) for shard in missing)
    built, frames = 0, 0
    progress(done, total)
    for wait in (False, True):
        claimed_by_others = []
        for shard in missing:
            with _claim(plan, shard, wait) as ours:
                if not ours:
                    claimed_by_others.append(shard)
                    continue
                if not plan.is_built(shard):
                    for sample in _write_shard(plan, shard, reader, encode):
                        done += 1
                        frames += sample.num_frames * len(sides(sample))
                        progress(done, total)
                    built += 1
                else:
                    done += len(shard.samples)
                    progress(done, total)
        missing = claimed_by_others
    return BuildReport(built, len(plan.shards), frames, time.perf_counter() - started)


@contextmanager
def _claim(plan: FeaturePlan, shard: ShardPlan, wait: bool) -> Generator[bool]:
    """Whether the shard is ours; it is until the context ends or this process does."""
    path = plan.folder / f"{shard.stem}.lock"
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
        # Only now is it safe to remove: whoever still waits for it will find the shard complete.
        path.unlink(missing_ok=True)


def _write_shard(
    plan: FeaturePlan, shard: ShardPlan, reader: ShardReader, encode: Encode
) -> Iterator[SampleIndex]:
    """Write the files of a shard; yields each sample that is done."""
    rows = shard.rows()
    partial = {path: path.with_suffix(".partial") for path in plan.paths(shard)}
    pooled = _new_map(partial[plan.path(shard, "pooled")], np.float32, plan.shape(shard, "pooled"))
    tokens = None
    if plan.keep_tokens:
        tokens = _new_map(partial[plan.path(shard, "tokens")], np.int16, plan.shape(shard, "tokens"))
    for sample in shard.samples:
        for side in sides(sample):
            for first in range(0, sample.num_frames, FRAMES_PER_CALL):
                indices = range(first, min(first + FRAMES_PER_CALL, sample.num_frames))
                features = encode(torch.from_numpy(reader.frames(sample, side, indices)))
                row = rows["pooled", sample.key, side] + first
                pooled[row : row + len(indices)] = pool_patches(features).float().numpy()
                if tokens is not None and side == "human":
                    row = rows["tokens", sample.key, side] + first
                    bits = features.bfloat16().view(torch.int16).numpy()
                    tokens[row : row + len(indices)] = bits
        yield sample
    for written in (pooled, tokens):
        if written is not None:
            written.flush()
    for path, draft in partial.items():
        draft.replace(path)


def _new_map(path: Path, dtype: type, shape: tuple[int, ...]) -> np.memmap:
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
