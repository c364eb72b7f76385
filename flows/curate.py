"""Flow `curate`: one Prefect task per stage of the curation of one data set.

Prefect costs 13–20 ms a task, so that items are never tasks: inside a task, Ray workers take them one by one.
Tasks are not cached by Prefect; what is already done is decided by the lake alone.
"""

import time
from pathlib import Path
from typing import Literal

from prefect import flow, task
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE

from harp.progress import ProgressBars
from pipelines.curate import STEPS, Curation, Progress
from pipelines.engine.executors import make_executor
from pipelines.engine.lake import Lake
from pipelines.recipe import load_curate_recipe
from pipelines.runs import RunRecord


@flow(name="curate", flow_run_name="curate-{recipe}", validate_parameters=True)
def curate(
    recipe: str,
    root: str,
    lake: str,
    executor: Literal["local", "ray"] = "ray",
    limit: int | None = None,
    overrides: list[str] | None = None,
) -> RunRecord:
    """Turn the raw videos under `root` into a published version in `lake`.

    Args:
        recipe: name of a recipe that ships with HARP, or path of a YAML file.
        root: folder of the raw data set.
        lake: folder of the lake; made if missing.
        executor: `ray` (embedded, or the cluster at RAY_ADDRESS) or `local` (in this process).
        limit: take only so many clips, to try a recipe.
        overrides: `key.path=value` changes to the recipe.
    """
    loaded = load_curate_recipe(recipe, overrides or [])
    with ProgressBars() as bars, make_executor(executor) as workers:
        curation = Curation(loaded, Path(root), Lake(lake), workers, limit, Artifacts(bars, loaded.dataset))
        for step in STEPS:
            run_step.with_options(name=step.__name__)(curation, step.__name__)
        publish.with_options(name="publish")(curation)
    counts_artifact(curation.record)
    return curation.record


@task(cache_policy=NO_CACHE)
def run_step(curation: Curation, step: str) -> None:
    """One stage over all items that it has not done yet."""
    getattr(curation, step)()


@task(cache_policy=NO_CACHE)
def publish(curation: Curation) -> None:
    """Write the version's manifest."""
    curation.publish()


class Artifacts:
    """Forwards progress to the terminal and, at most every two seconds, to the Prefect UI."""

    def __init__(self, bars: Progress, dataset: str) -> None:
        self._bars, self._dataset = bars, dataset
        self._ids: dict[str, tuple[object, float]] = {}

    def __call__(self, stage: str, finished: int, total: int) -> None:
        self._bars(stage, finished, total)
        share = 100.0 * finished / total if total else 100.0
        if stage not in self._ids:
            key = f"{self._dataset}-{stage}".replace("_", "-").lower()
            artifact = create_progress_artifact(progress=share, key=key, description=f"{total} items")
            self._ids[stage] = (artifact, time.monotonic())
            return
        artifact, last = self._ids[stage]
        if finished >= total or time.monotonic() - last > 2.0:
            update_progress_artifact(artifact_id=artifact, progress=share)  # type: ignore[arg-type]
            self._ids[stage] = (artifact, time.monotonic())


def counts_artifact(record: RunRecord) -> None:
    rows = [
        {
            "stage": s.name,
            "items": s.total,
            "already done": s.already_done,
            "done": s.done,
            "filtered": ", ".join(f"{r} {n}" for r, n in s.filtered.items()),
            "failed": ", ".join(f"{r} {n}" for r, n in s.failed.items()),
            "seconds": round(s.seconds, 1),
        }
        for s in record.stages
    ]
    description = f"version {record.version_id}" + ("" if record.version_is_new else " (unchanged)")
    create_table_artifact(
        rows, key=f"{record.dataset}-counts".replace("_", "-").lower(), description=description
    )
