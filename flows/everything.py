"""Flow `everything`: simulate, curate, train all three stages, evaluate, report. This is what `make demo` runs."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from flows.curate import curate
from flows.label import label
from flows.parameters import Change, Count, Executor, Text
from flows.policy import policy
from flows.train import evaluate, train
from harp.progress import ProgressBars
from harp.recipes import load_stage1_recipe, load_stage2_recipe, load_stage3_recipe
from pipelines.engine.lake import Lake
from pipelines.quality.report.page import write_report
from pipelines.runs import RunRecord
from simulation.robot_demonstrations import DemonstrationsConfig, generate_demonstrations
from simulation.tabletop import TabletopConfig, generate

PROCESSES = 2
"""That simulate at the same time."""
TASK = "press"
"""What the policy learns to do: the shortest task."""
STAGE1 = ("training.steps=80",)
STAGE2 = ("training.steps=40", "data.batch_size=16", "data.keep_features=false", "test_transitions=64")
"""40 steps see fewer pictures than the videos have frames, so keeping features would cost time."""
STAGE3 = ("training.steps=150", "data.batch_size=8", "training.learning_rate=1.0e-3", "test_steps=64")
STAGE1_RECIPE, POLICY_RECIPE = "laptop", "tiny"


@flow(name="everything", validate_parameters=True)
def everything(
    out: Text,
    pairs: Annotated[int, Field(ge=4)] = 24,
    seed: int = 0,
    executor: Executor = "ray",
    overrides: list[Change] | None = None,
    demonstrations: Count = 12,
    trials: Count = 4,
    stage2_overrides: list[Change] | None = None,
    stage3_overrides: list[Change] | None = None,
) -> RunRecord:
    """The whole of HARP, small, on demonstrations that it simulates.

    Args:
        out: folder for all of it: `raw`, `lake`, `stage1`, `demonstrations`, `stage2`, `stage3` and `report.html`.
        pairs: human–robot pairs to simulate; about a quarter is held out from training.
        seed: of the simulation.
        executor: where the curation's items run.
        overrides: `key.path=value` changes to the recipe of stage 1, besides those that make it short.
        demonstrations: of the robot with actions, for stage 3.
        trials: in which the policy acts.
        stage2_overrides: the same of stage 2.
        stage3_overrides: the same of stage 3.
    """
    check_changes(overrides, stage2_overrides, stage3_overrides)
    folder = Path(out)
    raw, lake, run, robot = (folder / name for name in ("raw", "lake", "stage1", "demonstrations"))
    simulate(raw, pairs, seed)
    record = curate("tabletop", str(raw), str(lake), executor)
    version = record.version_id or "latest"
    with demonstrated(DemonstrationsConfig(robot, demonstrations, seed, tasks=(TASK,))):
        train(str(lake), str(run), version, STAGE1_RECIPE, overrides=[*STAGE1, *(overrides or [])])
        evaluate(str(run))
        labels = label(str(lake), str(run), version, executor="local", precision="auto")
    policy(
        str(lake),
        str(robot),
        str(folder),
        labels,
        str(run),
        POLICY_RECIPE,
        stage2_overrides=[*STAGE2, *(stage2_overrides or [])],
        stage3_overrides=[*STAGE3, *(stage3_overrides or [])],
        tasks=[TASK],
        trials=trials,
    )
    report(lake, run, folder / "stage2", folder / "stage3", folder / "report.html")
    return record


def check_changes(
    overrides: Sequence[str] | None = None,
    stage2_overrides: Sequence[str] | None = None,
    stage3_overrides: Sequence[str] | None = None,
) -> None:
    """Find a wrong change at once: the recipes are needed minutes after the simulation begins.

    Raises:
        UserError: a recipe has no such key, or the value is of the wrong type.
    """
    load_stage1_recipe(STAGE1_RECIPE, [*STAGE1, *(overrides or [])])
    load_stage2_recipe(POLICY_RECIPE, [*STAGE2, *(stage2_overrides or [])])
    load_stage3_recipe(POLICY_RECIPE, [*STAGE3, *(stage3_overrides or [])])


@task(cache_policy=NO_CACHE)
def simulate(raw: Path, pairs: int, seed: int) -> None:
    """Paired demonstrations in RH20T's layout; pairs that are there already are kept."""
    with ProgressBars() as bars:
        generate(
            TabletopConfig(out=raw, pairs=pairs, seed=seed),
            progress=lambda done, total: bars("simulate", done, total),
            processes=PROCESSES,
        )


@contextmanager
def demonstrated(config: DemonstrationsConfig) -> Generator[None]:
    """Robot demonstrations with actions, made beside what the block does, in a process of their own."""
    beside = get_context("spawn").Process(target=generate_demonstrations, args=(config,), daemon=True)
    beside.start()
    yield
    beside.join()
    demonstrate(config)


@task(cache_policy=NO_CACHE)
def demonstrate(config: DemonstrationsConfig) -> None:
    """What is missing of the demonstrations: nothing, or what ended their process comes up here."""
    generate_demonstrations(config)


@task(cache_policy=NO_CACHE)
def report(lake: Path, run: Path, stage2: Path, stage3: Path, page: Path) -> None:
    """One HTML page about all of it."""
    write_report(Lake(lake), page, training=run, policy=(stage2, stage3))
