"""Flow `reprocess`: a curation from a named stage on, after a recipe, a model or a stage changed."""

from prefect import flow

from flows.artifacts import StageProgress
from flows.curate import run_steps
from flows.parameters import Change, Executor, StageSection, Text
from harp.progress import ProgressBars
from pipelines.curate import Curation
from pipelines.engine.executors import make_executor
from pipelines.engine.lake import Lake
from pipelines.recipe import load_curate_recipe
from pipelines.reprocess import prepare
from pipelines.runs import RunRecord, latest_run


@flow(name="reprocess", flow_run_name="reprocess-{recipe}-from-{from_stage}", validate_parameters=True)
def reprocess(
    recipe: Text,
    lake: Text,
    from_stage: StageSection,
    executor: Executor = "ray",
    overrides: list[Change] | None = None,
) -> RunRecord:
    """Compute a stage and what follows anew for the clips of the latest run; nothing before it is touched.

    Args:
        recipe: name of a recipe that ships with HARP, or path of a YAML file.
        lake: folder of the lake.
        from_stage: the first stage to compute, by its section in the recipe.
        executor: `ray` (embedded, or the cluster at RAY_ADDRESS) or `local` (in this process).
        overrides: `key.path=value` changes to the recipe.
    """
    loaded, opened = load_curate_recipe(recipe, overrides or []), Lake(lake)
    previous = latest_run(opened, loaded.dataset)
    with ProgressBars() as bars, make_executor(executor) as workers:
        progress = StageProgress(bars, loaded.dataset)
        curation = Curation(loaded, previous.raw_root, opened, workers, None, progress)
        run_steps(curation, prepare(curation, previous, from_stage))
    return curation.record
