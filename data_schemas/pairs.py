"""Pairs: temporal alignment of a human and a robot demonstration, and the verdict on what may be published."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa

from data_schemas.row import Array, Row


@dataclass(frozen=True, eq=False)
class Alignment(Row):
    """Frame correspondence with robot time as the reference (paper A.1)."""

    TABLE: ClassVar[str] = "alignments"

    pair_id: str
    human_id: str
    robot_id: str
    cue: str
    """What was aligned: `wrist`, `object` or `features`."""
    human_index: Annotated[np.ndarray, Array(pa.int64())]
    """(T_robot,) non-decreasing human frame per robot frame."""
    path: Annotated[np.ndarray, Array(pa.int64(), 2)]
    """(P, 2) DTW path as (robot frame, human frame)."""
    cost: float
    """Mean distance along the path, in units of the normalized tracks (1 = the track's own spread)."""
    usable_fraction: float
    """Smaller of the two shares of frames in which the cue was usable."""


@dataclass(frozen=True)
class Verdict(Row):
    """May a pair, or a demonstration without partner, be published, and if not, why."""

    TABLE: ClassVar[str] = "verdicts"

    subject_id: str
    """Pair id, or demonstration id for a single one."""
    kind: str
    """`pair`, `human` or `robot`."""
    accepted: bool
    reasons: list[str]
    """Named reasons against it: `too_few_visible_frames`, `high_alignment_cost`, `static_clip`,
    `duration_ratio`, `camera_lost`, `missing_half`, `no_instruction`; empty when accepted."""
    metric_names: list[str]
    metric_values: list[float]
    """What the reasons were judged by, in the order of `metric_names`."""

    @property
    def metrics(self) -> dict[str, float]:
        return dict(zip(self.metric_names, self.metric_values, strict=True))


@dataclass(frozen=True)
class Shard(Row):
    """One written shard file; the row is keyed by the samples that the shard holds."""

    TABLE: ClassVar[str] = "shards"

    shard_id: str
    path: str
    """Relative to the lake's root."""
    sha256: str
    num_bytes: int
    num_samples: int
    num_frames: int
