"""Commands for looking after a lake: `harp quarantine`, `harp lake`, `harp stage`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data_schemas.errors import UserError
from harp.options import LakeOption
from harp.pasting import pasted

if TYPE_CHECKING:
    from data_schemas.ledger import LedgerEntry
    from pipelines.engine.lake import Lake

quarantine_app = typer.Typer(
    no_args_is_help=True, help="Items that failed for good: look at them, give them another chance."
)
lake_app = typer.Typer(no_args_is_help=True, help="Keep a lake small and quick.")
stage_app = typer.Typer(
    no_args_is_help=True, help="Record what a stage does, to admit a new implementation, model or GPU."
)
console = Console()

DatasetOption = Annotated[str | None, typer.Option(help="Only this data set; default: all.")]
StageOption = Annotated[str | None, typer.Option(help="Only this stage.")]


@quarantine_app.command("list")
def quarantine_list(
    lake: LakeOption = Path("lake"), dataset: DatasetOption = None, stage: StageOption = None
) -> None:
    """List the items that failed for good, by the settings of each data set's latest run.

    Example:

      harp quarantine list --lake lake --stage ingest
    """
    entries = _quarantined(open_lake(lake), dataset, stage)
    if not entries:
        console.print("Nothing is in quarantine.")
        return
    table = Table(box=SIMPLE)
    for column in ("item", "stage", "reason", "attempts", "what it is"):
        table.add_column(column, no_wrap=column in ("item", "stage"))
    for entry in entries:
        table.add_row(entry.item_id, entry.stage, entry.reason, str(entry.attempt), escape(entry.label))
    console.print(table)
    console.print(
        f"{len(entries)} in quarantine. Why: harp quarantine show ITEM --lake {pasted(lake)}. "
        f"Try again: harp quarantine requeue ITEM --lake {pasted(lake)}",
        highlight=False,
        soft_wrap=True,
    )


@quarantine_app.command("show")
def quarantine_show(
    item: Annotated[str, typer.Argument(help="Id of the item.")], lake: LakeOption = Path("lake")
) -> None:
    """Show every attempt at an item: when, where, how long, how much memory, and what went wrong."""
    from pipelines.engine.ledger import attempts_at

    entries = attempts_at(open_lake(lake), item)
    if not entries:
        raise UserError(f"The ledger knows no item '{item}': `harp quarantine list` shows the ids.")
    for e in entries:
        console.print(
            f"[bold]{e.stage}[/], attempt {e.attempt}: {e.outcome} {e.reason}, {e.finished_at[:19]}"
        )
        cost = f"{e.seconds:.1f} s, {e.peak_memory_mb:.0f} MB on {e.worker}" if e.worker else "cost unknown"
        console.print(f"  {e.label} ({cost}), run {e.run_id}", highlight=False, markup=False)
        for text in (e.detail, e.traceback):
            if text:
                console.print(text, highlight=False, markup=False)


@quarantine_app.command("requeue")
def quarantine_requeue(
    items: Annotated[list[str] | None, typer.Argument(help="Ids of the items.")] = None,
    lake: LakeOption = Path("lake"),
    dataset: DatasetOption = None,
    stage: StageOption = None,
    reason: Annotated[str | None, typer.Option(help="All that failed for this reason.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that are in quarantine.")] = False,
) -> None:
    """Give items another chance: the next run tries them again.

    Example:

      harp quarantine requeue --reason timeout --lake lake
    """
    from pipelines.engine.ledger import requeue

    if not (items or reason or everything):
        raise UserError("Nothing was named to requeue: give ids of items, --reason, or --all.")
    opened = open_lake(lake)
    held = _quarantined(opened, dataset, stage)
    if missing := set(items or ()) - {entry.item_id for entry in held}:
        raise UserError(
            f"Not in quarantine: {', '.join(sorted(missing))}; `harp quarantine list` shows what is."
        )
    if reason and reason not in (reasons := {entry.reason for entry in held}):
        there = ", ".join(sorted(reasons)) or "nothing is in quarantine"
        raise UserError(f"Nothing is in quarantine for '{reason}'; the reasons there are: {there}.")
    chosen = [
        entry
        for entry in held
        if (not items or entry.item_id in items) and (reason is None or entry.reason == reason)
    ]
    requeue(opened, chosen)
    console.print(f"{len(chosen)} requeued: the next `harp curate` tries them again.")


@lake_app.command("optimize")
def lake_optimize(
    lake: LakeOption = Path("lake"),
    keep_hours: Annotated[
        int, typer.Option(help="Files that were replaced stay so long, for readers and time travel.")
    ] = 7 * 24,
) -> None:
    """Join the many small files that nightly runs leave, and remove what is no longer part of any table.

    Safe while runs go on. Published versions are never touched.
    """
    from pipelines.engine.maintenance import optimize

    table = Table(box=SIMPLE)
    for column in ("table", "files before", "files now", "old files removed"):
        table.add_column(column, justify="left" if column == "table" else "right")
    for done in optimize(open_lake(lake), keep_hours):
        table.add_row(done.table, str(done.files_before), str(done.files_after), str(done.removed))
    console.print(table)


@stage_app.command("record")
def stage_record(
    stage: Annotated[str, typer.Argument(help="wrists, camera, objects, alignment or verdict.")],
    out: Annotated[Path, typer.Option(file_okay=False, help="New folder for the recording.")],
    lake: LakeOption = Path("lake"),
    sample: Annotated[int, typer.Option(min=1, help="How many items.")] = 16,
    dataset: Annotated[str | None, typer.Option(help="Which data set; default: the latest run's.")] = None,
) -> None:
    """Keep what a stage read and made in the latest run, for a sample of items.

    Example:

      harp stage record objects --lake lake --out recordings/objects

      harp stage replay recordings/objects --out replays/new_tracker

      harp stage compare recordings/objects replays/new_tracker --tolerance points=2
    """
    from pipelines.recordings import record

    recording = record(open_lake(lake), stage, out, sample, dataset)
    console.print(f"Recorded {len(recording.item_ids)} items of {recording.stage} in [bold]{out}[/]")


@stage_app.command("replay")
def stage_replay(
    recording: Annotated[Path, typer.Argument(help="Folder of a recording.")],
    out: Annotated[
        Path, typer.Option(file_okay=False, help="New folder for the rows as the stage makes them now.")
    ],
    recipe: Annotated[
        str | None, typer.Option(help="Take the settings of this recipe; default: the recorded ones.")
    ] = None,
    executor: Annotated[Literal["local", "ray"], typer.Option(help="Where items run.")] = "local",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change that recipe: key.path=value.")
    ] = None,
) -> None:
    """Run a stage as it is now over the inputs of a recording."""
    from pipelines.engine.executors import make_executor
    from pipelines.recipe import load_curate_recipe
    from pipelines.recordings import load, replay

    if set_ and recipe is None:
        recipe = load(recording).recipe["dataset"]
    changed = load_curate_recipe(recipe, set_ or []).model_dump(mode="json") if recipe else None
    with make_executor(executor) as workers:
        summary = replay(recording, out, workers, changed)
    console.print(str(summary), highlight=False)


@stage_app.command("compare")
def stage_compare(
    before: Annotated[Path, typer.Argument(help="Folder of a recording or replay.")],
    after: Annotated[Path, typer.Argument(help="Folder of the replay to judge.")],
    tolerance: Annotated[
        list[str] | None,
        typer.Option(
            help="Difference that numbers may have: 0.5 for all, points=2 for a column. May be repeated."
        ),
    ] = None,
    min_share: Annotated[float, typer.Option(min=0, max=1, help="Share of values that must agree.")] = 1.0,
    ignore: Annotated[list[str] | None, typer.Option(help="Column not to compare. May be repeated.")] = None,
) -> None:
    """Say whether two implementations of a stage agree; exit status 1 if they do not."""
    from pipelines.comparison import PROVENANCE, Tolerance, compare
    from pipelines.recordings import rows

    (first, old), (second, new) = rows(before), rows(after)
    if first.stage != second.stage:
        raise UserError(
            f"{before} is of stage {first.stage} and {after} of {second.stage}: compare one stage."
        )
    default, columns = _tolerances(tolerance or [])
    result = compare(old, new, Tolerance(default, columns, min_share, (*PROVENANCE, *(ignore or ()))))
    table = Table(box=SIMPLE, title=f"{first.stage}: {result.rows} rows on both sides")
    for column in ("column", "values", "agree", "largest difference", "mean", "worst item", ""):
        table.add_column(column, justify="left" if column in ("column", "worst item") else "right")
    for c in result.columns:
        mark = "[green]pass[/]" if c.passed else "[red]differs[/]"
        figures = (f"{c.share:.2%}", f"{c.max_difference:.4g}", f"{c.mean_difference:.4g}")
        table.add_row(c.column, str(c.values), *figures, c.worst, mark)
    console.print(table)
    for name, ids in ((before, result.only_before), (after, result.only_after)):
        if ids:
            console.print(f"[red]Only in {name}[/]: {', '.join(ids)}")
    if not result.passed:
        raise typer.Exit(1)
    console.print("[green]They agree.[/]")


def open_lake(lake: Path) -> "Lake":
    """A lake that is there.

    Raises:
        UserError: it is not.
    """
    from pipelines.engine.lake import Lake

    if not lake.is_dir():
        raise UserError(f"There is no lake at {lake}: give its folder with --lake.")
    return Lake(lake)


def _quarantined(lake: "Lake", dataset: str | None, stage: str | None) -> list["LedgerEntry"]:
    from pipelines.left_out import quarantined
    from pipelines.reprocess import stage_named
    from pipelines.runs import datasets_of, latest_run

    wanted = stage_named(stage) if stage else None
    datasets = [dataset] if dataset else datasets_of(lake)
    entries = [entry for found in datasets for entry in quarantined(lake, latest_run(lake, found))]
    return [entry for entry in entries if wanted in (None, entry.stage)]


def _tolerances(given: list[str]) -> tuple[float, dict[str, float]]:
    default, columns = 0.0, {}
    for text in given:
        column, equals, number = text.rpartition("=")
        try:
            if equals:
                columns[column] = float(number)
            else:
                default = float(number)
        except ValueError:
            raise UserError(
                f"--tolerance got '{text}'; it takes a number or column=number, e.g. points=2."
            ) from None
    return default, columns
