"""Recordings: a stage's inputs and outputs on a sample, to admit a new implementation, model revision or GPU.

A recording is a folder with two small lakes: `inputs` holds the rows that the stage reads, `outputs` those that it
made. Replaying runs the stage as it is now over the inputs and writes a third lake, whatever the stage's key says; comparing
sets the rows of two such lakes side by side. Videos are not copied: they are read where the run found them.
"""

import shutil
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from data_schemas.errors import UserError
from data_schemas.row import Row
from pipelines.curate import UPSTREAM, Curation, make_stages
from pipelines.engine.executor import Executor, LocalExecutor
from pipelines.engine.lake import Lake
from pipelines.engine.runner import run_stage
from pipelines.engine.summary import StageSummary
from pipelines.engine.work import Work
from pipelines.recipe import CurateRecipe
from pipelines.reprocess import stage_named
from pipelines.runs import RunRecord, keep_sources, latest_run

OF_DEMONSTRATIONS = ("wrist_tracks", "camera_motion", "object_tracks")
"""Stages whose items are demonstrations."""

RECORDABLE = (*OF_DEMONSTRATIONS, "alignments", "verdicts")
"""Ingestion reads raw files, which are their own record; shards are files with checksums."""


class Recording(BaseModel):
    """Content of `recording.json`."""

    model_config = ConfigDict(extra="forbid")

    stage: str
    stage_key: str
    upstream_keys: dict[str, str]
    recipe: dict
    raw_root: str
    sources: str
    item_ids: list[str]
    """The sample."""


def record(lake: Lake, stage: str, folder: Path, sample: int, dataset: str | None = None) -> Recording:
    """Keep what the latest run's stage read and made, for a sample of its items.

    Raises:
        UserError: the stage cannot be recorded, the run has no rows of it, or the folder holds something.
    """
    name = _recordable(stage)
    run = latest_run(lake, dataset)
    if name not in run.stage_keys:
        raise UserError(
            f"The latest run of {run.dataset} did not get to {name}: finish it with `harp curate`."
        )
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"The folder {folder} is not empty: give a new one for the recording.")
    recipe = CurateRecipe.model_validate(run.recipe)
    curation = _curation(recipe, lake, run)
    row_classes = {other.name: other.row for other in curation.stages.values()}
    done = lake.ids(row_classes[name], run.stage_keys[name])
    ids = [i for i in sorted(curation.work(name).labels) if i in done][:sample]
    if not ids:
        raise UserError(f"The latest run of {run.dataset} has no rows of {name} to record.")
    inputs, outputs = Lake(folder / "inputs"), Lake(folder / "outputs")
    outlines = _demonstrations(curation, name, ids)
    items = {"ingest": [o.item_id for o in outlines], "alignments": ids}
    for upstream in UPSTREAM[name]:
        wanted = items.get(upstream, [o.demonstration_id for o in outlines])
        _copy(lake, inputs, row_classes[upstream], run.stage_keys[upstream], wanted)
    _copy(lake, outputs, row_classes[name], run.stage_keys[name], ids)
    recording = Recording(
        stage=name,
        stage_key=run.stage_keys[name],
        upstream_keys={upstream: run.stage_keys[upstream] for upstream in UPSTREAM[name]},
        recipe=run.recipe,
        raw_root=run.raw_root,
        sources=keep_sources(inputs, items["ingest"]),
        item_ids=ids,
    )
    _save(recording, folder)
    return recording


def replay(
    folder: Path, out: Path, executor: Executor, overrides: dict[str, Any] | None = None
) -> StageSummary:
    """Run the stage as it is now over a recording's inputs; `out` becomes comparable with the recording.

    Args:
        overrides: sections of the recipe to use instead of the recorded ones.

    Raises:
        UserError: the folder is no recording, `out` holds something, or the settings leave items out.
    """
    recording = load(folder)
    if out.exists() and any(out.iterdir()):
        raise UserError(f"The folder {out} is not empty: give a new one for the replay.")
    recipe = CurateRecipe.model_validate(recording.recipe | (overrides or {}))
    run = RunRecord(
        run_id="replay",
        dataset=recipe.dataset,
        recipe=recording.recipe,
        raw_root=recording.raw_root,
        executor=type(executor).__name__,
        started_at="",
        sources=recording.sources,
    )
    curation = _curation(recipe, Lake(folder / "inputs"), run)
    curation.keys.update(recording.upstream_keys)
    work = curation.work(recording.stage)
    labels = {i: work.labels[i] for i in recording.item_ids if i in work.labels}
    if len(labels) < len(recording.item_ids):
        raise UserError(
            f"By these settings {len(recording.item_ids) - len(labels)} of {len(recording.item_ids)} recorded items are "
            f"no work for {recording.stage}: replay with settings under which they are."
        )
    shutil.copytree(folder / "inputs", out / "inputs")
    summary = run_stage(
        curation.stages[recording.stage],
        Work(labels, work.load),
        Lake(out / "outputs"),
        executor,
        upstream=list(recording.upstream_keys.values()),
        limits=recipe.limits,
    )
    _save(
        recording.model_copy(update={"stage_key": summary.key, "recipe": recipe.model_dump(mode="json")}), out
    )
    return summary


def load(folder: Path) -> Recording:
    """What a folder holds.

    Raises:
        UserError: it is no recording.
    """
    path = folder / "recording.json"
    if not path.is_file():
        raise UserError(
            f"{folder} is no recording (it has no recording.json): make one with `harp stage record`."
        )
    return Recording.model_validate_json(path.read_text())


def rows(folder: Path) -> tuple[Recording, dict[str, Row]]:
    """A recording or a replay with the rows of its stage by item id."""
    recording = load(folder)
    stages = make_stages(CurateRecipe.model_validate(recording.recipe), Lake(folder / "outputs"))
    row_class = stages[recording.stage].row
    return recording, Lake(folder / "outputs").read(row_class, recording.stage_key)


def _recordable(stage: str) -> str:
    name = stage_named(stage)
    if name not in RECORDABLE:
        raise UserError(
            f"Stage {name} cannot be recorded: raw files are their own record and shards have checksums; those that "
            f"can are {', '.join(RECORDABLE)}."
        )
    return name


def _curation(recipe: CurateRecipe, lake: Lake, run: RunRecord) -> Curation:
    curation = Curation(recipe, run.raw_root, lake, LocalExecutor())
    curation.record.sources = run.sources
    curation.keys.update(run.stage_keys)
    return curation


def _demonstrations(curation: Curation, stage: str, ids: list[str]) -> list[Any]:
    """Outlines of all demonstrations that the items are about."""
    view = curation.view
    if stage in OF_DEMONSTRATIONS:
        return [view.outlines[i] for i in ids]
    return [side for i in ids for side in view.subjects[i].sides]


def _copy(lake: Lake, other: Lake, row_class: type[Row], key: str, ids: list[str]) -> None:
    other.append(row_class, key, list(lake.read(row_class, key, ids).items()))


def _save(recording: Recording, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recording.json").write_text(recording.model_dump_json(indent=1))
