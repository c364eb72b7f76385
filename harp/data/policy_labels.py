"""Labelled transitions of published versions: what stage 2 draws from.

A transition is one observation with the codes of what happens next. Sources are weighted as in stage 1; within a
source every transition is as likely as any other, so human and robot sides have the share that they have in the data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.dataset as pads
from deltalake import DeltaTable
from pydantic import Field

from data_schemas.errors import UserError
from data_schemas.latent_actions import LabelSet, LatentActions, read_label_set
from data_schemas.strict_model import StrictModel
from harp.data.flattened import Flattened
from harp.data.mixture import Mixture, Pool
from harp.data.version import PublishedVersion, Split, Subject

Side = Literal["human", "robot"]


class LabelSource(StrictModel):
    """A part of the training data of stage 2, and how much of a batch it gives."""

    labels: str
    """Key of a labelling of the lake; its version is read with it."""
    sides: tuple[Side, ...] = ("human", "robot")
    datasets: tuple[str, ...] = ()
    """All data sets of the version by default."""
    weight: float = Field(default=1.0, gt=0)


class LabelDataConfig(StrictModel):
    """Batches of labelled transitions."""

    batch_size: int = Field(default=64, gt=0)
    """Transitions per step, over all workers and micro-batches."""
    sources: tuple[LabelSource, ...] = ()
    """By default what the command line names, with equal weights."""
    horizon_seconds: float | None = None
    """Δ of the labels to train on; needed where a labelling has several, as the policy is not told which."""
    verify: Literal["sha256", "size"] = "sha256"
    """How a shard is compared with the manifest when it is first opened."""
    loader_threads: int = Field(default=2, ge=1)
    """Batches prepared at the same time."""
    keep_features: bool = False
    """Compute the frozen encoder's features of every frame once and keep them on disk."""


@dataclass(frozen=True)
class LabelledClip:
    """One side of a subject with its N transitions."""

    subject: Subject
    side: Side
    first_frames: np.ndarray
    """(N,) frame t of each."""
    codes: np.ndarray
    """(N, Q)."""


@dataclass(frozen=True)
class Transition:
    """One observation and its label."""

    clip: LabelledClip
    index: int

    @property
    def frame(self) -> int:
        return int(self.clip.first_frames[self.index])

    @property
    def codes(self) -> np.ndarray:
        """(Q,)."""
        return self.clip.codes[self.index]


class Transitions(Flattened[Transition]):
    """All transitions of some clips."""

    def __init__(self, clips: Sequence[LabelledClip]) -> None:
        self.clips = tuple(clips)
        super().__init__(
            [len(clip.first_frames) for clip in clips], lambda number, i: Transition(self.clips[number], i)
        )


@dataclass(frozen=True)
class LabelledVersions:
    """The versions and labels of a recipe's sources."""

    version: PublishedVersion
    """Of the first source, opened together with the others."""
    labels: Mapping[str, LabelSet]
    rows: Mapping[str, Sequence[LatentActions]]
    """By key."""
    config: LabelDataConfig

    @classmethod
    def open(cls, lake: Path, config: LabelDataConfig) -> "LabelledVersions":
        """Read everything but the pictures.

        Raises:
            UserError: no such labels or version, or labels of codebooks that differ.
        """
        labels = {source.labels: read_label_set(lake, source.labels) for source in config.sources}
        if not labels:
            raise UserError("Stage 2 has no data: name labels of `harp label`.")
        sizes = {(each.codebook_size, each.codes_per_action) for each in labels.values()}
        models = {each.model for each in labels.values()}
        if len(models) > 1:
            raise UserError(
                f"The labels come from {len(models)} models ({', '.join(sorted(models))}), whose codes mean different "
                "things; label all versions by one stage-1 run."
            )
        assert len(sizes) == 1, "one model has one codebook"
        first, *others = dict.fromkeys(each.version_id for each in labels.values())
        version = PublishedVersion.open(lake / "versions" / first, others)
        rows = {key: _read_rows(lake, label_set) for key, label_set in labels.items()}
        return cls(version, labels, rows, config)

    def transitions(self, split: Split) -> list[Pool[Transition]]:
        """One pool per source; a subject that any of the versions holds out is never trained on.

        Raises:
            UserError: a source selects nothing to train on, or two select the same clip.
        """
        held_out = {s.subject_id for part in self.version.parts for s in part.subjects("held_out")}
        pools, seen = [], set()
        for number, source in enumerate(self.config.sources, 1):
            name = f"Source {number} of data.sources ({', '.join(source.sides)} of labels {source.labels})"
            part = self.version.part(self.labels[source.labels].version_id)
            subjects = {
                s.subject_id: s
                for s in part.subjects(split)
                if (split == "held_out" or s.subject_id not in held_out)
                and (not source.datasets or s.segments[0].dataset in source.datasets)
            }
            clips = self._clips(source, subjects)
            if split == "train" and not clips:
                raise UserError(f"{name} has no labelled training clip; there is {part.describe()}.")
            ids = {(clip.subject.subject_id, clip.side) for clip in clips}
            if split == "train" and ids & seen:
                raise UserError(f"{name} selects clips that an earlier source has; give each data once.")
            seen |= ids
            pools.append(Pool(name, source.weight, Transitions(clips)))
        return pools

    def _clips(self, source: LabelSource, subjects: Mapping[str, Subject]) -> list[LabelledClip]:
        horizon = self._horizon(self.labels[source.labels])
        clips = []
        for row in self.rows[source.labels]:
            if row.side in source.sides and row.subject_id in subjects:
                wanted = np.isclose(row.horizon_seconds, horizon)
                clip = LabelledClip(
                    subjects[row.subject_id], row.side, row.frames[wanted, 0], row.codes[wanted]
                )
                clips.append(clip)
        return sorted(clips, key=lambda clip: (clip.subject.subject_id, clip.side))

    def _horizon(self, labels: LabelSet) -> float:
        known = labels.horizon_seconds
        wanted = self.config.horizon_seconds
        if wanted is None and len(known) == 1:
            return known[0]
        if wanted not in known:
            raise UserError(
                f"Labels {labels.key} have horizons of {', '.join(map(str, known))} seconds, asked for is "
                f"{wanted}; set data.horizon_seconds to one of them."
            )
        return wanted


class TransitionDraws:
    """The transitions of a step, a pure function of (seed, step)."""

    def __init__(self, pools: Sequence[Pool[Transition]], batch_size: int, seed: int) -> None:
        self._mixture = Mixture(pools, batch_size, seed, stream=0)
        self.batch_size = self._mixture.number
        """Fewer than asked for where there are fewer in all."""

    def draw(self, step: int) -> list[Transition]:
        return self._mixture.draw(step)


def clips_of(pools: Sequence[Pool[Transition]]) -> list[LabelledClip]:
    """Clips whose transitions some pools hold."""
    return [clip for pool in pools if isinstance(pool.members, Transitions) for clip in pool.members.clips]


def majority_codes(clips: Sequence[LabelledClip], num_codes: int) -> np.ndarray:
    """(Q,) the most frequent code at each place: what a policy that sees nothing would say."""
    codes = np.concatenate([clip.codes for clip in clips])
    return np.array([np.bincount(column, minlength=num_codes).argmax() for column in codes.T])


def _read_rows(lake: Path, labels: LabelSet) -> list[LatentActions]:
    table = DeltaTable(str(lake / LatentActions.TABLE)).to_pyarrow_dataset(
        file_pruning_predicate=[("stage_key", "=", labels.key)]
    )
    batches = table.to_batches(
        columns=LatentActions.schema().names, filter=pads.field("stage_key") == labels.key
    )
    rows = [LatentActions.from_record(record) for batch in batches for record in batch.to_pylist()]
    if len(rows) != labels.clips:
        raise UserError(
            f"The labels {labels.key} should cover {labels.clips} clips, the lake has {len(rows)}; run "
            f"`harp label --stage1 {labels.run}` again."
        )
    return rows
