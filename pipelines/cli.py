"""Commands of the data team: `harp curate`, `harp status`, `harp versions`, `harp report`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from pipelines.engine.lake import Lake
    from pipelines.runs import RunRecord

app = typer.Typer()
console = Console()

SHOWN_AFTER_A_RUN = 12
"""Problems named after a curation."""

LakeOption = Annotated[Path, typer.Option("--lake", envvar="HARP_LAKE", help="Folder of the lake.")]


@app.command()
def curate(
    recipe: Annotated[
        str, typer.Argument(help="A recipe that ships with HARP (tabletop, rh20t, clips) or a YAML file.")
    ],
    root: Annotated[Path, typer.Option(help="Folder of the raw videos.")],
    lake: LakeOption = Path("lake"),
    executor: Annotated[
        Literal["local", "ray"], typer.Option(help="Where items run: in this process, or on Ray.")
    ] = "ray",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Take only so many clips, to try a recipe.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change the recipe: key.path=value. May be repeated.")
    ] = None,
) -> None:
    """Turn raw human and robot videos into a published version: aligned, cue-annotated training shards.

    Running again does only what is new. A broken video lands in the ledger under a named reason and never
    stops the others.

    Examples:

      harp curate clips --root my_videos --lake lake        # any folder of videos with a pairs.csv

      harp curate rh20t --root /data/RH20T --limit 20 --set alignment.window=0.3
    """
    from harp.progress import ProgressBars
    from pipelines.curate import Curation
    from pipelines.curate import curate as run
    from pipelines.engine.executors import make_executor
    from pipelines.engine.lake import Lake
    from pipelines.recipe import load_curate_recipe

    loaded = load_curate_recipe(recipe, set_ or [])
    with ProgressBars() as bars, make_executor(executor) as workers:
        curation = Curation(loaded, root.resolve(), Lake(lake), workers, limit, bars)
        run(curation)
    print_run(curation.record, lake)


@app.command()
def status(
    lake: LakeOption = Path("lake"),
    dataset: Annotated[
        str | None, typer.Option(help="Only this data set; default: the latest run's.")
    ] = None,
    failures: Annotated[int, typer.Option(min=0, help="How many problems to name.")] = 20,
) -> None:
    """Say how the stages stand: done, filtered and failed by reason, and which items failed."""
    from pipelines.engine.lake import Lake
    from pipelines.runs import latest_run

    opened = Lake(lake)
    run = latest_run(opened, dataset)
    table = Table(
        box=SIMPLE,
        title=f"{run.dataset}: latest run {run.started_at[:19]}, version {run.version_id or 'not published'}",
    )
    for column in ("stage", "items", "with a result", "filtered", "failed", "new in this run", "seconds"):
        named = column in ("stage", "filtered", "failed")
        table.add_column(column, justify="left" if named else "right", no_wrap=column == "stage")
    for stage in run.stages:
        table.add_row(
            stage.name.replace("_", " "),
            str(stage.total),
            str(stage.rows),
            _reasons(stage.filtered),
            _reasons(stage.failed),
            str(stage.processed),
            f"{stage.seconds:.1f}",
        )
    console.print(table)
    print_problems(opened, run, failures)


@app.command()
def versions(lake: LakeOption = Path("lake")) -> None:
    """List the published versions of a lake, newest first. Training takes a version."""
    from pipelines.engine.lake import Lake
    from pipelines.shards.publish import list_versions

    table = Table(box=SIMPLE, pad_edge=False)
    for column in ("version", "data set", "created", "pairs", "held out", "singles", "frames", "MB"):
        named = column in ("version", "data set", "created")
        table.add_column(
            column, justify="left" if named else "right", no_wrap=column in ("version", "data set")
        )
    for manifest in list_versions(Lake(lake)):
        counts = manifest.counts
        megabytes = sum(shard.num_bytes for shard in manifest.shards) / 1e6
        table.add_row(
            manifest.version_id,
            manifest.dataset,
            manifest.created_at[:16].replace("T", " "),
            *(str(counts.get(k, 0)) for k in ("pairs", "held_out_pairs")),
            str(counts.get("human", 0) + counts.get("robot", 0)),
            str(counts.get("frames", 0)),
            f"{megabytes:.1f}",
        )
    console.print(table)


@app.command()
def report(
    lake: LakeOption = Path("lake"),
    run: Annotated[
        Path | None, typer.Option(help="Folder of a stage-1 training to show beside the data.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    dataset: Annotated[str | None, typer.Option(help="Which data set; default: the latest run's.")] = None,
    pairs: Annotated[int, typer.Option(min=0, help="How many pairs to show as contact sheets.")] = 12,
) -> None:
    """Write one self-contained HTML page: what came in, what was left out and why, and what came of it."""
    from pipelines.engine.lake import Lake
    from pipelines.quality.report.page import write_report

    write_report(Lake(lake), out, training=run, dataset=dataset, max_pairs=pairs)
    console.print(
        f"Report: [bold]{out}[/] ({out.stat().st_size / 1e6:.1f} MB, one file, opens in any browser)"
    )


def print_run(run: "RunRecord", lake: Path) -> None:
    """What a curation did, and what it left out."""
    from pipelines.engine.lake import Lake

    print_problems(Lake(lake), run, SHOWN_AFTER_A_RUN)
    if not run.items_processed and not run.version_is_new:
        console.print(
            f"Nothing new: all {run.stages[0].total} clips were curated before. Version {run.version_id} stands."
        )
        return
    state = "Published" if run.version_is_new else "Unchanged:"
    console.print(f"{state} version [bold]{run.version_id}[/] in {lake}. Next: harp report --lake {lake}")


def print_problems(lake: "Lake", run: "RunRecord", limit: int) -> None:
    """Name what failed, was filtered or was rejected, with the reason: one line and one sentence each."""
    from pipelines.quality.report.curated import load_curated
    from pipelines.runs import problems

    curated = load_curated(lake, run)
    lines = [
        (
            entry.outcome,
            entry.stage,
            entry.reason,
            entry.label,
            (entry.detail.strip().splitlines() or [""])[-1],
        )
        for entry in problems(lake, run)
    ]
    lines += [
        ("rejected", "verdicts", ", ".join(verdict.reasons), curated.subject(verdict.subject_id).source, "")
        for verdict in curated.verdicts
        if not verdict.accepted
    ]
    for outcome, stage, reason, label, sentence in lines[:limit]:
        colour = "red" if outcome == "failed" else "yellow"
        console.print(f"[{colour}]{outcome}[/] {stage.replace('_', ' ')}: [bold]{reason}[/] ", end="")
        console.print(f"{label}" + (f"\n  {sentence}" if sentence else ""), highlight=False, markup=False)
    if len(lines) > limit:
        console.print(
            f"and {len(lines) - limit} more: harp status --lake {lake.root} --failures {len(lines)}"
        )


def _reasons(reasons: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in reasons.items())
