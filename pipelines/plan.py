"""What curating a data set will take, read off the ledger of what was curated already.

The ledger holds the seconds and the peak memory of every attempt at every item. Divided by the frames of the
demonstrations behind them they give each stage's cost per frame: per embodiment where an item is one demonstration
(a detector looks at human frames, a projection at robot poses), over all frames where items are pairs or shards.
The data set is counted by its reader, and its frames by the containers of some of its videos, spread over all.

The costs are those of the machine that was measured, with its load at the time, and of clips like those. What the
workers wait for (starting, commits, a slow disk under many readers) is not in them: a plan is a lower bound.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import floor, inf
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from data_schemas.demonstrations import Demonstration
from data_schemas.errors import BadInput, UserError
from data_schemas.ledger import LedgerEntry
from data_schemas.pairs import Shard
from pipelines.datasets.base import Reader, no_clips
from pipelines.datasets.clip_files import inside
from pipelines.engine.lake import Lake
from pipelines.engine.ledger import ALREADY_DONE
from pipelines.engine.stage import Resources, Stage
from pipelines.inputs import SourceClip
from pipelines.video.container import open_stream, promised_frames, promised_seconds

PER_DEMONSTRATION = ("ingest", "wrist_tracks", "camera_motion", "object_tracks")
"""Stages whose items are single demonstrations; they cost different amounts for humans and robots."""

COUNTED_VIDEOS = 64
"""Videos per embodiment whose frames are counted."""


@dataclass(frozen=True)
class StageCost:
    """What one stage took, by the ledger."""

    attempts: int
    seconds_per_frame: Mapping[str, float]
    """By embodiment."""
    peak_memory_mb: float
    gpu_memory_mb: float


@dataclass(frozen=True)
class DatasetSize:
    """Clips and frames of a data set, by embodiment."""

    clips: Mapping[str, int]
    frames: Mapping[str, float]
    error: float
    """Standard error of all frames together; 0 where every video was counted."""
    unreadable: int
    """Of the videos that were looked at."""

    @property
    def all_frames(self) -> float:
        return sum(self.frames.values())


@dataclass(frozen=True)
class Machine:
    """What the stages may use, all nodes together."""

    cpus: int
    gpus: int
    memory_gb: float


@dataclass(frozen=True)
class StageEstimate:
    """What one stage will take."""

    stage: str
    seconds_per_frame: Mapping[str, float]
    work_seconds: float
    """Of one worker."""
    workers: int
    memory_mb: float
    gpu_memory_mb: float

    @property
    def seconds(self) -> float:
        """By all workers together."""
        return self.work_seconds / self.workers


# === The past ===


def measure(lake: Lake, keys: Mapping[str, str]) -> dict[str, StageCost]:
    """Cost of every stage that the ledger knows under these keys; without one, nothing was curated so."""
    columns = ["demonstration_id", "embodiment", "num_frames"]
    rows = lake.records(Demonstration, keys["ingest"], columns)
    of_source = {row["item_id"]: row for row in rows}
    of_demonstration = {row["demonstration_id"]: row for row in rows}
    frames: dict[str, float] = defaultdict(float)
    for row in of_demonstration.values():
        frames[row["embodiment"]] += row["num_frames"]
    costs = {}
    for stage, key in keys.items():
        entries = _attempts(lake, key)
        if not entries:
            continue
        demonstrations = of_source if stage == "ingest" else of_demonstration
        by_embodiment = (
            _split(entries, demonstrations) if stage in PER_DEMONSTRATION else _even(entries, frames)
        )
        costs[stage] = StageCost(
            len(entries),
            by_embodiment,
            max(entry["peak_memory_mb"] for entry in entries),
            max(entry["gpu_memory_mb"] or 0.0 for entry in entries),
        )
    return costs


def bytes_per_frame(lake: Lake, keys: Mapping[str, str]) -> float:
    """Bytes of the shards per frame of the demonstrations that were ingested for them."""
    shards = lake.table(Shard, keys["shards"], ["num_bytes"])
    frames = lake.table(Demonstration, keys["ingest"], ["num_frames"])
    total = pc.sum(frames.column("num_frames")).as_py() or 0
    return (pc.sum(shards.column("num_bytes")).as_py() or 0) / max(total, 1)


def _attempts(lake: Lake, key: str) -> list[dict]:
    columns = ["item_id", "outcome", "reason", "seconds", "peak_memory_mb", "gpu_memory_mb"]
    entries = lake.table(LedgerEntry, key, columns).to_pylist()
    return [e for e in entries if e["outcome"] != "requeued" and e["reason"] != ALREADY_DONE]


def _split(entries: Iterable[dict], demonstrations: Mapping[str, dict]) -> dict[str, float]:
    """Seconds per frame by embodiment; attempts at what never became a demonstration are spread over all."""
    seconds, frames = defaultdict(float), defaultdict(float)
    seen, elsewhere = set(), 0.0
    for entry in entries:
        row = demonstrations.get(entry["item_id"])
        if row is None:
            elsewhere += entry["seconds"]
            continue
        seconds[row["embodiment"]] += entry["seconds"]
        if entry["item_id"] not in seen:
            seen.add(entry["item_id"])
            frames[row["embodiment"]] += row["num_frames"]
    spread = elsewhere / max(sum(frames.values()), 1)
    return {embodiment: seconds[embodiment] / count + spread for embodiment, count in frames.items()}


def _even(entries: Iterable[dict], frames: Mapping[str, float]) -> dict[str, float]:
    rate = sum(entry["seconds"] for entry in entries) / max(sum(frames.values()), 1)
    return dict.fromkeys(frames, rate)


# === The data set ===


def survey(reader: Reader, raw_root: Path, counted: int = COUNTED_VIDEOS) -> DatasetSize:
    """Count clips, and frames of `counted` videos per embodiment, evenly spread over the data set.

    Raises:
        UserError: the root holds no clip of this layout.
    """
    clips: dict[str, list[SourceClip]] = defaultdict(list)
    for clip in reader.discover(raw_root):
        clips[clip.embodiment].append(clip)
    if not clips:
        raise no_clips(raw_root, reader.dataset)
    frames, variance, unreadable = {}, 0.0, 0
    for embodiment, group in clips.items():
        chosen = np.unique(np.linspace(0, len(group) - 1, min(counted, len(group))).round().astype(int))
        counts = np.array([count_frames(group[i], raw_root) for i in chosen])
        unreadable += int((counts == 0).sum())
        frames[embodiment] = float(counts.mean() * len(group))
        if 1 < len(chosen) < len(group):
            variance += counts.var(ddof=1) / len(chosen) * len(group) ** 2
    sizes = {embodiment: len(group) for embodiment, group in clips.items()}
    return DatasetSize(sizes, frames, float(np.sqrt(variance)), unreadable)


def count_frames(clip: SourceClip, raw_root: Path) -> int:
    """Frames of a clip by its container, without decoding; 0 where it cannot be opened."""
    try:
        container, stream = open_stream(inside(raw_root, clip.hints["video"]))
    except BadInput:
        return 0
    with container:
        promised = promised_frames(container, stream)
        seconds = promised_seconds(container)
        return promised or round((seconds or 0.0) * float(stream.average_rate or 0))


# === The plan ===


def estimate(
    costs: Mapping[str, StageCost], size: DatasetSize, stages: Mapping[str, Stage], machine: Machine
) -> list[StageEstimate]:
    """Every stage that was measured, in the order they run.

    Raises:
        UserError: a stage needs more than the machine has.
    """
    found = []
    for name, stage in stages.items():
        if name not in costs:
            continue
        cost = costs[name]
        work = sum(cost.seconds_per_frame.get(e, 0.0) * frames for e, frames in size.frames.items())
        workers = workers_of(name, stage.resources, cost, machine)
        found.append(
            StageEstimate(
                name, cost.seconds_per_frame, work, workers, cost.peak_memory_mb, cost.gpu_memory_mb
            )
        )
    return found


def workers_of(name: str, needs: Resources, cost: StageCost, machine: Machine) -> int:
    """Workers of a stage that fit on the machine at once.

    Raises:
        UserError: not one does.
    """
    needs = needs.on({"GPU": machine.gpus})
    room = {
        "CPUs": (machine.cpus, needs.cpus),
        "GPUs": (machine.gpus, needs.gpus or 0.0),
        "GB of memory": (machine.memory_gb, max(cost.peak_memory_mb / 1024, needs.memory_gb or 0.0)),
    }
    for what, (has, wants) in room.items():
        if wants > has:
            raise UserError(
                f"A worker of {name} needs {wants:.3g} {what}, the plan has {has:.3g}: give more."
            )
    return max(1, floor(min(has / wants if wants else inf for has, wants in room.values())))
