"""Latent-action labelling of a published version, as plain calls (paper §3.3).

    published version + stage-1 run ─ label ─► rows of `latent_actions` + labels/<key>.json ─► stage 2

A stage like those of curation: running again does nothing, another model, horizon or version is another key.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.compute as pc

from data_schemas.errors import UserError
from data_schemas.latent_actions import LABELS, LabelSet, LatentActions
from data_schemas.whole_files import replacing
from harp.data.version import PublishedVersion
from harp.training.stage1_models import finished_config
from pipelines.engine.executors import Executor
from pipelines.engine.lake import Lake
from pipelines.engine.runner import run_stage
from pipelines.engine.summary import StageSummary
from pipelines.engine.work import Work
from pipelines.labels.stage import Clip, LabelConfig, LabelStage


@dataclass(frozen=True)
class Labelling:
    """What one call did, and the labels as they stand."""

    summary: StageSummary
    labels: LabelSet


def label_version(
    version: PublishedVersion,
    run: Path,
    executor: Executor,
    *,
    horizons: tuple[float, ...] = (),
    precision: str = "fp32",
    gpus: float | None = None,
    max_failed_fraction: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> Labelling:
    """Bring the labels of a version by a stage-1 run up to date.

    Args:
        version: all of it is labelled, held-out subjects as well: stage 2 measures itself on those.
        run: folder of a finished stage-1 run.
        horizons: Δ in seconds; by default the middle of the range that stage 1 drew from.
        precision: `fp32`, `bf16`, or `auto`.
        gpus: of each worker on Ray; by default one where the cluster has any.
        max_failed_fraction: of the clips; more failures than that leave no finished labelling.

    Raises:
        UserError: no finished run, or one without a latent action model.
        StageFailed: too many clips failed.
    """
    trained = finished_config(run)
    default = (sum(trained.data.horizon_seconds) / 2,)
    config = LabelConfig.model_validate({"horizon_seconds": horizons or default, "precision": precision})
    if trained.latent_action is None:
        raise UserError(f"The run in {run} trained no latent action model, so it labels nothing.")
    lake = Lake(version.lake)
    stage = LabelStage(config, run.resolve(), version.folder, gpus=gpus)
    work = clips_of(version)
    summary = run_stage(
        stage,
        work,
        lake,
        executor,
        upstream=[version.version_id],
        max_failed_fraction=max_failed_fraction,
        progress=progress,
    )
    rows = lake.table(LatentActions, summary.key, ["horizon_seconds"])
    labels = LabelSet(
        key=summary.key,
        version_id=version.version_id,
        model=stage.models[0],
        run=str(run.resolve()),
        horizon_seconds=config.horizon_seconds,
        codebook_size=trained.latent_action.codebook_size,
        codes_per_action=trained.latent_action.num_queries,
        clips=rows.num_rows,
        transitions=pc.sum(pc.list_value_length(rows.column("horizon_seconds"))).as_py() or 0,
        left_out=summary.filtered | summary.failed,
        finished_at=datetime.now(UTC).isoformat(),
    )
    path = version.lake / LABELS / f"{labels.key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with lake.writing(), replacing(path) as draft:
        draft.write_text(labels.model_dump_json(indent=1))
    return Labelling(summary, labels)


def clips_of(version: PublishedVersion) -> Work[Clip]:
    """Every side of every subject, by `<subject>/<side>`."""
    subjects = [*version.subjects("train"), *version.subjects("held_out")]
    clips = {f"{s.subject_id}/{side}": Clip(s, side) for s in subjects for side in s.sides}
    labels = {i: f"{i}: {clip.subject.instruction}" for i, clip in clips.items()}
    return Work(labels, lambda ids: {i: clips[i] for i in ids})
