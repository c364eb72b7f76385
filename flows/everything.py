"""Flow `everything`: simulate, curate, train, evaluate, report. This is what `make demo` runs."""

from pathlib import Path
from typing import Annotated

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from flows.curate import curate
from flows.parameters import Change, Executor, Text
from flows.train import evaluate, train
from pipelines.engine.lake import Lake
from pipelines.quality.report.page import write_report
from pipelines.runs import RunRecord
from simulation.tabletop import TabletopConfig, generate


@flow(name="everything", validate_parameters=True)
def everything(
    out: Text,
    pairs: Annotated[int, Field(ge=4)] = 40,
    seed: int = 0,
    executor: Executor = "ray",
    overrides: list[Change] | None = None,
) -> RunRecord:
    """The whole of HARP, small, on demonstrations that it simulates.

    Args:
        out: folder for all of it: `raw`, `lake`, `stage1` and `report.html`.
        pairs: human–robot pairs to simulate; about a third is held out from training.
        seed: of the simulation.
        executor: where the curation's items run.
        overrides: `key.path=value` changes to the training recipe.
    """
    folder = Path(out)
    raw, lake, run = folder / "raw", folder / "lake", folder / "stage1"
    simulate(raw, pairs, seed)
    record = curate("tabletop", str(raw), str(lake), executor)
    train(str(lake), str(run), record.version_id or "latest", overrides=overrides)
    evaluate(str(run))
    report(lake, run, folder / "report.html")
    return record


@task(cache_policy=NO_CACHE)
def simulate(raw: Path, pairs: int, seed: int) -> None:
    """Paired demonstrations in RH20T's layout; pairs that are there already are kept."""
    generate(TabletopConfig(out=raw, pairs=pairs, seed=seed))


@task(cache_policy=NO_CACHE)
def report(lake: Path, run: Path, page: Path) -> None:
    """One HTML page about all of it."""
    write_report(Lake(lake), page, training=run)
