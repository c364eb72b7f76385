"""What the report says of a whole run in numbers, from a few columns of its tables.

The rows behind them are gigabytes where there are 200,000 clips: those of the pairs that are drawn come from
`RunView.verdict_inputs`, as the verdicts had them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from data_schemas.cues import ObjectTrack, WristTrack
from data_schemas.pairs import Alignment, Verdict
from pipelines.engine.lake import Lake
from pipelines.outlines import Outline, RunView
from pipelines.runs import RunRecord

Shares = dict[str, list[float]]
"""Embodiment -> share of frames in which a cue is visible, of every clip that has the cue."""


class Judged(NamedTuple):
    """A verdict in short."""

    subject_id: str
    kind: str
    """`pair`, `human` or `robot`."""
    accepted: bool
    reasons: list[str]


class Aligned(NamedTuple):
    """An alignment in short."""

    cue: str
    cost: float


@dataclass(frozen=True)
class Curated:
    """Of the run's own clips and subjects; the lake may hold others. Missing tables give empty collections."""

    num_clips: int
    verdicts: list[Judged]
    """Rejected ones first."""
    alignments: dict[str, Aligned]
    """By pair id."""
    wrists: Shares
    objects: Shares
    models: list[str]
    limits: dict[str, Any]
    """Configuration of the verdicts."""

    @property
    def pairs(self) -> list[Judged]:
        return [verdict for verdict in self.verdicts if verdict.kind == "pair"]


def load_curated(lake: Lake, run: RunRecord, view: RunView) -> Curated:
    """Read what the tables say of a run."""
    keys = run.stage_keys
    # A run that was stopped early has no keys of the stages that it did not come to.
    clips = view.outlines if "ingest" in keys else {}
    subjects = view.subjects if "ingest" in keys else {}
    verdicts, alignments = [], {}
    if "verdicts" in keys:
        rows = lake.records(Verdict, keys["verdicts"], ["kind", "accepted", "reasons"])
        verdicts = [Judged(**_renamed(row)) for row in rows if row["item_id"] in subjects]
    if "alignments" in keys:
        ids, *columns = lake.columns(Alignment, keys["alignments"], ["item_id", "cue", "cost"])
        aligned = map(Aligned, *columns)
        alignments = {i: one for i, one in zip(ids, aligned, strict=True) if i in subjects}
    shares: dict[str, Shares] = {}
    models: set[str] = set()
    for stage, row_class, sources in (
        ("wrist_tracks", WristTrack, ["source"]),
        ("object_tracks", ObjectTrack, ["source", "box_source"]),
    ):
        table = None
        if stage in keys:
            table = lake.table(row_class, keys[stage], ["item_id", "visible", *sources])
            models |= {model for name in sources for model in table[name].unique().to_pylist()}
        shares[stage] = _shares(table, clips)
    return Curated(
        num_clips=len(clips),
        verdicts=sorted(verdicts, key=lambda v: (v.accepted, v.kind, v.subject_id)),
        alignments=alignments,
        wrists=shares["wrist_tracks"],
        objects=shares["object_tracks"],
        models=sorted(models),
        limits=run.recipe.get("verdict", {}),
    )


def _renamed(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"subject_id" if name == "item_id" else name: value for name, value in row.items()}


def _shares(table: pa.Table | None, clips: Mapping[str, Outline]) -> Shares:
    """Of the clips among the rows of a table, a batch at a time: the flags of all frames are bits there, not bytes."""
    found: Shares = {"human": [], "robot": []}
    for batch in table.to_batches() if table is not None else ():
        flags = batch.column("visible")
        ends = np.cumsum(flags.value_lengths().to_numpy())
        seen = np.concatenate([[0], np.cumsum(flags.flatten().to_numpy(zero_copy_only=False))])
        starts = np.concatenate([[0], ends[:-1]])
        shares = (seen[ends] - seen[starts]) / np.maximum(ends - starts, 1)
        for item_id, share in zip(batch.column("item_id").to_pylist(), shares.tolist(), strict=True):
            if item_id in clips:
                found[clips[item_id].embodiment].append(share)
    return found
