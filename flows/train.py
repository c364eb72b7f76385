"""Flows `train` and `evaluate`: stage 1 on a published version, and what came of it."""

from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from harp.data.version import version_folder
from harp.evaluation.representation import evaluate_representation
from harp.recipes import load_stage1_recipe
from harp.training.progress import bars
from harp.training.ray_workers import OnRay
from harp.training.stage1 import train_stage1


@flow(name="train", validate_parameters=True)
def train(
    lake: str,
    out: str,
    version: str = "latest",
    recipe: str = "laptop",
    overrides: list[str] | None = None,
    workers: int = 1,
) -> None:
    """Train HARP-VE and HARP-LAM on a version. A killed run continues where its last checkpoint stands.

    Args:
        lake: folder of the lake with the version.
        out: folder of the run.
        version: id, or `latest`.
        recipe: `laptop`, `paper`, or a YAML file.
        overrides: `key.path=value` changes to the recipe.
        workers: more than one run on Ray, on the cluster at RAY_ADDRESS where that is set.
    """
    config, folder = load_stage1_recipe(recipe, overrides or []), version_folder(Path(lake), version)
    launch = OnRay(workers, Path(out)) if workers > 1 else None
    with bars() as observers:
        train_stage1(config, folder, Path(out), launch=launch, observers=observers)


@flow(name="evaluate", validate_parameters=True)
def evaluate(run: str) -> None:
    """Retrieval and paired distance on held-out pairs, before and after stage 1; the table becomes an artifact.

    Args:
        run: folder of a finished stage-1 run.
    """
    evaluation = evaluate_representation(Path(run))
    create_markdown_artifact(evaluation.markdown(), key="representation", description=f"stage-1 run {run}")
