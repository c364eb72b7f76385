"""Flow `curate`: one Prefect task per stage of the curation of one data set.

Prefect costs 13–20 ms a task, so that items are never tasks: inside a task, Ray workers take them one by one.
Tasks are not cached by Prefect; what is already done is decided by the lake alone. Ray belongs to the flow's process
and ends with it: cancelling the run ends its work.
"""

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.artifacts import StageProgress, counts_table, digest_page
from flows.parameters import Change, Count, Executor, Text
from flows.retries import RETRIES
from harp.progress import ProgressBars
from pipelines.curate import STEPS, Curation
from pipelines.engine.executors import make_executor
from pipelines.engine.lake import Lake
from pipelines.recipe import load_curate_recipe
from pipelines.runs import RunRecord


@flow(name="curate", flow_run_name="curate-{recipe}", validate_parameters=True)
def curate(
    recipe: Text,
    root: Text,
    lake: Text,
    executor: Executor = "ray",
    limit: Count | None = None,
    overrides: list[Change] | None = None,
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
        progress = StageProgress(bars, loaded.dataset)
        curation = Curation(loaded, root, Lake(lake), workers, limit, progress)
        run_steps(curation, [step.__name__ for step in STEPS])
    return curation.record


def run_steps(curation: Curation, steps: list[str]) -> None:
    """The steps of a curation by name, then its publication, each as a task."""
    for step in steps:
        run_step.with_options(name=step)(curation, step)
    publish(curation)
    counts_table(curation.record)
    digest_page(curation)


@task(cache_policy=NO_CACHE, **RETRIES)
def run_step(curation: Curation, step: str) -> None:
    """One stage over all items that it has not done yet."""
    getattr(curation, step)()


@task(cache_policy=NO_CACHE, **RETRIES)
def publish(curation: Curation) -> None:
    """Write the version's manifest."""
    curation.publish()
