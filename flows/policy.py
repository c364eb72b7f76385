"""Flow `policy`: stages 2 and 3 on labels and demonstrations, then what the policy does in closed loop."""

from collections.abc import Sequence
from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from data_schemas.episodes import read_collection
from data_schemas.storage import location
from data_schemas.versions import LATEST
from flows.artifacts import tolerated
from flows.parameters import Change, Count, DatasetName, Text
from flows.retries import RETRIES
from flows.versions import find_version, stage1_run
from harp.evaluation.closed_loop.actors import environment_factory
from harp.evaluation.closed_loop.evaluate import default_out, evaluate_closed_loop
from harp.evaluation.closed_loop.results import ClosedLoopResult
from harp.progress import ProgressBars
from harp.recipes import load_stage2_recipe, load_stage3_recipe
from harp.training.launch import launcher
from harp.training.policy_run import Start
from harp.training.progress import bars
from harp.training.stage2 import train_stage2
from harp.training.stage3 import train_stage3


@flow(name="policy", validate_parameters=True)
def policy(
    lake: Text,
    demonstrations: Text,
    out: Text,
    labels: Text = "latest",
    model: Text | None = None,
    recipe: Text = "tiny",
    stage2_overrides: list[Change] | None = None,
    stage3_overrides: list[Change] | None = None,
    environment: Text = "tabletop",
    tasks: list[Text] | None = None,
    trials: Count = 60,
    workers: Count = 1,
    dataset: DatasetName | None = None,
) -> None:
    """Pretrain a policy on latent actions, train its action head on demonstrations, and let it act.

    It acts at the table of the demonstrations, whose seed says how things lie there.

    Args:
        lake: folder of the lake with the labels.
        demonstrations: folder of robot demonstrations with actions.
        out: folder of the runs `stage2` and `stage3`, the evaluation is below the latter. Where RAY_ADDRESS is set a worker
            of that cluster trains, which has to see this folder and the others.
        labels: key of a labelling, or `latest`, the newest that the model made.
        model: folder of the stage-1 run that made them; by default that of flow `train` on the latest version.
        recipe: of both stages.
        stage2_overrides: `key.path=value` changes to the recipe of stage 2.
        stage3_overrides: the same of stage 3.
        environment: where the policy acts.
        tasks: of the environment; all by default.
        trials: of each task.
        workers: processes that run trials at the same time.
        dataset: whose latest version, where the lake has several data sets.
    """
    folder = Path(out)
    stage1 = Path(model) if model else stage1_run(find_version(lake, LATEST, dataset))
    pretrain(location(lake), labels, stage1, folder / "stage2", recipe, stage2_overrides or [])
    finetune(folder / "stage2", Path(demonstrations), folder / "stage3", recipe, stage3_overrides or [])
    seed = read_collection(Path(demonstrations)).seed
    result = act(folder / "stage3", environment, tasks or [], trials, seed, workers)
    with tolerated("the table of successes"):
        create_markdown_artifact(
            result.markdown(), key="closed-loop", description=f"policy {folder / 'stage3'}"
        )


@task(cache_policy=NO_CACHE, **RETRIES)
def pretrain(lake: Path, labels: str, model: Path, run: Path, recipe: str, overrides: Sequence[str]) -> None:
    """Stage 2."""
    config = load_stage2_recipe(recipe, overrides)
    with bars() as observers:
        train_stage2(
            config,
            lake,
            run,
            labels=(labels,),
            start=Start(stage1=model),
            launch=launcher(1, run),
            observers=observers,
        )


@task(cache_policy=NO_CACHE, **RETRIES)
def finetune(stage2: Path, demonstrations: Path, run: Path, recipe: str, overrides: Sequence[str]) -> None:
    """Stage 3."""
    config = load_stage3_recipe(recipe, overrides)
    with bars("demonstrations") as observers:
        train_stage3(config, str(stage2), demonstrations, run, launch=launcher(1, run), observers=observers)


@task(cache_policy=NO_CACHE, **RETRIES)
def act(
    stage3: Path, environment: str, tasks: Sequence[str], trials: int, seed: int, workers: int
) -> ClosedLoopResult:
    """All trials that have not been run yet."""
    with ProgressBars() as show:
        return evaluate_closed_loop(
            environment_factory(environment),
            environment,
            str(stage3),
            default_out(str(stage3), environment),
            tasks=tasks,
            trials=trials,
            seed=seed,
            workers=workers,
            progress=lambda done, total, successes: show("trials", done, total, f"{successes} succeeded"),
        )
