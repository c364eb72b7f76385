"""Flows `train` and `evaluate`: stage 1 on a published version, and what came of it."""

from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from data_schemas.storage import location
from data_schemas.versions import LATEST
from flows.artifacts import tolerated
from flows.parameters import Change, Count, DatasetName, Text
from flows.retries import RETRIES
from flows.versions import find_version, stage1_run
from harp.evaluation.representation import evaluate_representation
from harp.progress import ProgressBars
from harp.recipes import load_stage1_recipe
from harp.training.config import Stage1Config
from harp.training.launch import launcher
from harp.training.progress import bars
from harp.training.stage1 import train_stage1
from harp.training.stage1_version import begun_on


@flow(name="train", validate_parameters=True)
def train(
    lake: Text,
    out: Text | None = None,
    version: Text = "latest",
    recipe: Text = "laptop",
    overrides: list[Change] | None = None,
    workers: Count = 1,
    dataset: DatasetName | None = None,
) -> str:
    """Train HARP-VE and HARP-LAM on a version. A killed run continues where its last checkpoint stands.

    Args:
        lake: folder of the lake with the version.
        out: folder of the run; by default `runs/stage1-<version>`. Shared by the machines of a cluster, as the lake.
        version: id, or `latest`; a run in `out` that was begun on it stays with its version.
        recipe: `laptop`, `paper`, or a YAML file.
        overrides: `key.path=value` changes to the recipe.
        workers: each with a GPU of its own, or all on CPUs where there is none; on the cluster at RAY_ADDRESS where that is
            set.
        dataset: whose latest version, where the lake has several data sets.
    """
    config = load_stage1_recipe(recipe, overrides or [])
    begun = begun_on(Path(out), location(lake), dataset) if out and version == LATEST else None
    folder = begun or find_version(lake, version, dataset)
    run = Path(out) if out else stage1_run(folder)
    optimize(config, folder, run, workers)
    return str(run)


@task(cache_policy=NO_CACHE, **RETRIES)
def optimize(config: Stage1Config, version: Path, run: Path, workers: int) -> None:
    """All steps that the run has not done yet."""
    with bars() as observers:
        train_stage1(config, version, run, launch=launcher(workers, run), observers=observers)


@flow(name="evaluate", validate_parameters=True)
def evaluate(
    run: Text | None = None,
    lake: Text = "lake",
    version: Text = "latest",
    dataset: DatasetName | None = None,
) -> None:
    """Retrieval and paired distance on held-out pairs, before and after stage 1; the table becomes an artifact.

    Args:
        run: folder of a finished stage-1 run; by default that of flow `train` on the version.
        lake: folder of the lake with the version.
        version: id, or `latest`.
        dataset: whose latest version, where the lake has several data sets.
    """
    folder = Path(run) if run else stage1_run(find_version(lake, version, dataset))
    with ProgressBars() as moved:
        evaluation = evaluate_representation(folder, progress=moved)
    with tolerated("the table of results"):
        create_markdown_artifact(
            evaluation.markdown(), key="representation", description=f"stage-1 run {folder}"
        )
