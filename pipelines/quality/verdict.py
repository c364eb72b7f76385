"""Stage `verdicts`: what may be published, and by name why the rest may not.

Every subject gets a row, accepted or not, with the figures it was judged by, so that a threshold can be
reconsidered from the table alone. A reason fires only on what was measured: a cue that a data set does not have
is NaN, and NaN is below no threshold. How the defaults were chosen stands beside each of them.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from data_schemas.camera import CameraMotion
from data_schemas.demonstrations import Demonstration
from data_schemas.pairs import Alignment, Verdict
from pipelines.alignment.cues import extent, object_signal, wrist_signal
from pipelines.engine.stage import Done, Outcome, Stage, StageConfig
from pipelines.inputs import Annotated, VerdictInput

NAN = float("nan")


class VerdictConfig(StageConfig):
    """Thresholds; `benchmarks/alignment` prints the distributions behind them."""

    min_visible_fraction: float = Field(default=0.3, ge=0, le=1)
    """Share of frames in which the side's best cue must be seen. Below the 0.4 that the alignment asks of a
    pair, so that for pairs it speaks only where no common cue was found or where most of what was aligned lies
    outside the picture."""
    max_alignment_cost: float = Field(default=0.6, gt=0)
    """Mean distance along the DTW path in spreads of the track, for pairs aligned on wrists or objects. 60 simulated
    pairs reached 0.52 at most; of robots paired with a human who did another task a quarter exceeded 0.6."""
    max_feature_cost: float = Field(default=1.1, gt=0)
    """The same for pairs aligned on frame features. 12 simulated pairs reached 0.97 at most; of those paired across
    tasks seven in ten exceeded 1.1."""
    min_motion: float = Field(default=0.04, ge=0)
    """Range of the wrist or of the object, whichever moves more, as a share of the image's diagonal. It does not
    depend on how long the motion takes, so a short task is not taken for a static clip."""
    max_duration_ratio: float = Field(default=4.0, ge=1)
    """Of the longer clip's seconds to the shorter one's."""
    min_camera_known: float = Field(default=0.5, ge=0, le=1)
    """Share of frames in which the motion of a moving camera must be known."""
    require_instruction: bool = True
    publish_unpaired_halves: bool = False
    """Judge a half whose partner is missing as a demonstration without partner."""


class VerdictStage(Stage[VerdictInput, VerdictConfig]):
    """Judges pairs and demonstrations without partner; always gives a row."""

    name: ClassVar[str] = "verdicts"
    version: ClassVar[int] = 3
    row: ClassVar[type[Verdict]] = Verdict
    batch_size = 64

    def __init__(self, config: VerdictConfig | None = None) -> None:
        super().__init__(config or VerdictConfig())

    def process(self, batch: Sequence[VerdictInput]) -> list[Outcome]:
        return [Done(judge(subject, self.config)) for subject in batch]


def judge(subject: VerdictInput, config: VerdictConfig) -> Verdict:
    """The verdict on one subject."""
    metrics = measure(subject)
    reasons = _reasons(subject, metrics, config)
    sides = [side for side in (subject.human, subject.robot) if side is not None]
    return Verdict(
        subject_id=subject.subject_id,
        kind="pair" if len(sides) == 2 else sides[0].demonstration.embodiment,
        accepted=not reasons,
        reasons=reasons,
        metric_names=list(metrics),
        metric_values=list(metrics.values()),
    )


def measure(subject: VerdictInput) -> dict[str, float]:
    """What a subject is judged by; NaN where it could not be measured.

    Per side: `{side}_wrist_visible` and `{side}_object_visible` (shares of frames), `{side}_motion` (range as a share
    of the image's diagonal, against the scene where the camera moves); of a moving camera `{side}_camera_known` (share
    of frames) and `{side}_camera_motion` (range of the picture's centre in the scene, of the diagonal).

    Of pairs: `alignment_cost` (spreads of the track), `alignment_usable` (share of frames), `duration_ratio` (human
    seconds / robot seconds), `repeated_frames` (share of robot frames that show the same human frame as the one before).
    """
    metrics: dict[str, float] = {}
    for name, side in (("human", subject.human), ("robot", subject.robot)):
        if side is not None:
            metrics |= {f"{name}_{key}": value for key, value in _measure_side(side).items()}
    if subject.human is not None and subject.robot is not None:
        metrics |= _measure_alignment(subject.alignment)
        metrics["duration_ratio"] = _seconds(subject.human.demonstration) / _seconds(
            subject.robot.demonstration
        )
    return metrics


def _measure_side(side: Annotated) -> dict[str, float]:
    wrist, moved = wrist_signal(side), object_signal(side)
    extents = [signal.extent for signal in (wrist, moved) if signal is not None and signal.usable.any()]
    metrics = {
        "wrist_visible": float(side.wrist.visible.mean()) if side.wrist is not None else NAN,
        "object_visible": moved.usable_fraction if moved is not None else NAN,
        "motion": max(extents, default=NAN),
    }
    return metrics if side.camera is None else metrics | _measure_camera(side.demonstration, side.camera)


def _measure_camera(row: Demonstration, camera: CameraMotion) -> dict[str, float]:
    centre = np.tile([(row.width - 1) / 2, (row.height - 1) / 2], (len(camera.transforms), 1))
    way = camera.against_scene(centre)[camera.known]
    return {
        "camera_known": float(camera.known.mean()),
        "camera_motion": extent(way, row.width, row.height),
    }


def _measure_alignment(alignment: Alignment | None) -> dict[str, float]:
    if alignment is None:
        return {"alignment_cost": NAN, "alignment_usable": NAN, "repeated_frames": NAN}
    repeated = np.diff(alignment.human_index) == 0
    return {
        "alignment_cost": alignment.cost,
        "alignment_usable": alignment.usable_fraction,
        "repeated_frames": float(repeated.mean()) if repeated.size else 0.0,
    }


def _seconds(demonstration: Demonstration) -> float:
    """Time a clip shows, pauses of the recorder and one frame interval included, so that one frame has a duration."""
    times = demonstration.timestamps
    return float(times[-1] - times[0]) + 1.0 / demonstration.fps


def _reasons(subject: VerdictInput, metrics: dict[str, float], config: VerdictConfig) -> list[str]:
    sides = {"human": subject.human, "robot": subject.robot}
    present = {name: side for name, side in sides.items() if side is not None}
    static = any(metrics[f"{name}_motion"] < config.min_motion for name in present)
    on_features = subject.alignment is not None and subject.alignment.cue == "features"
    unseen = min(_seen(metrics, name, on_features) for name in present) < config.min_visible_fraction
    # What stays put cannot be aligned either, but that is not for want of visible frames.
    unaligned = len(present) == 2 and subject.alignment is None and not static
    ratio = metrics.get("duration_ratio", 1.0)
    max_cost = config.max_feature_cost if on_features else config.max_alignment_cost
    holds = {
        "missing_half": subject.missing_half and not config.publish_unpaired_halves,
        "no_instruction": config.require_instruction
        and not any(side.demonstration.instruction.strip() for side in present.values()),
        "too_few_visible_frames": unseen or unaligned,
        "static_clip": static,
        "camera_lost": any(
            metrics.get(f"{name}_camera_known", 1.0) < config.min_camera_known for name in present
        ),
        "duration_ratio": max(ratio, 1.0 / ratio) > config.max_duration_ratio,
        "high_alignment_cost": metrics.get("alignment_cost", NAN) > max_cost,
    }
    return [reason for reason, fires in holds.items() if fires]


def _seen(metrics: dict[str, float], name: str, on_features: bool) -> float:
    """Share of frames in which the best cue of a side was seen; a pair aligned on frame features was seen too.

    Of one aligned on tracks it does not count: they may also be followed outside the picture.
    """
    shares = (
        metrics[f"{name}_wrist_visible"],
        metrics[f"{name}_object_visible"],
        metrics["alignment_usable"] if on_features else NAN,
    )
    return max((share for share in shares if not np.isnan(share)), default=0.0)
