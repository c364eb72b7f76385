"""Commands of the data team: `harp curate`, `harp plan`, `harp reprocess`, `harp status`, `harp versions`, `harp report`.

Those for looking after a lake are in `operations`.
"""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data_schemas.errors import UserError
from harp.options import LakeOption, OptionalRawRootOption, VersionDatasetOption
from harp.pasting import pasted
from pipelines.operations import lake_app, open_lake, quarantine_app, stage_app
from pipelines.plan_command import plan

if TYPE_CHECKING:
    from pipelines.engine.lake import Lake
    from pipelines.outlines import RunView
    from pipelines.runs import RunRecord

app = typer.Typer()
versions_app = typer.Typer(invoke_without_command=True)
for _group, _name in (
    (versions_app, "versions"),
    (quarantine_app, "quarantine"),
    (stage_app, "stage"),
    (lake_app, "lake"),
):
    app.add_typer(_group, name=_name)
app.command()(plan)
console = Console()

SHOWN_AFTER_A_RUN = 12
"""Problems named after a curation."""

ExecutorOption = Annotated[
    Literal["local", "ray"], typer.Option(help="Where items run: in this process, or on Ray.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Change the recipe: key.path=value. May be repeated.")
]
FailedFractionOption = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, metavar="SHARE", help="Share of a stage's items that may fail; default: the recipe's."
    ),
]


@app.command()
def curate(
    recipe: Annotated[
        str, typer.Argument(help="A recipe that ships with HARP (tabletop, rh20t, clips) or a YAML file.")
    ],
    root: OptionalRawRootOption = None,
    lake: LakeOption = Path("lake"),
    executor: ExecutorOption = "ray",
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, help="Only so many clips, to try a recipe; LAKE's latest version is then theirs."
        ),
    ] = None,
    max_failed_fraction: FailedFractionOption = None,
    set_: SetOption = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print the recipe with every key that can be set, and do no more.")
    ] = False,
) -> None:
    """Turn raw human and robot videos into a published version: aligned, cue-annotated training shards.

    Running again does only what is new. A broken video lands in the ledger under a named reason and never
    stops the others.

    Examples:

      harp curate clips --root my_videos --lake lake        # any folder of videos with a pairs.csv

      harp curate rh20t --root /data/RH20T --limit 20 --set alignment.warp.time_weight=0.3

      harp curate rh20t --show > mine.yaml                  # a recipe of your own to begin with
    """
    from pipelines.recipe import load_curate_recipe

    loaded = load_curate_recipe(recipe, _changes(set_, max_failed_fraction))
    if show:
        typer.echo(loaded.as_yaml(), nl=False)
        return
    if root is None:
        raise UserError("It was not said where the raw videos are: give their folder with --root.")
    from harp.progress import ProgressBars
    from pipelines.curate import Curation
    from pipelines.curate import curate as run
    from pipelines.engine.executors import make_executor
    from pipelines.engine.lake import Lake

    with ProgressBars() as bars, make_executor(executor) as workers:
        curation = Curation(loaded, root, Lake(lake), workers, limit, bars)
        run(curation)
    print_run(curation.record, curation.lake, curation.view)


@app.command()
def reprocess(
    recipe: Annotated[str, typer.Argument(help="The recipe of the data set, by name or YAML file.")],
    from_stage: Annotated[
        str,
        typer.Option(
            help="The first stage to compute: ingest, wrists, camera, objects, alignment, verdict or shards."
        ),
    ],
    lake: LakeOption = Path("lake"),
    executor: ExecutorOption = "ray",
    max_failed_fraction: FailedFractionOption = None,
    set_: SetOption = None,
) -> None:
    """Compute a stage and what follows anew, after its settings or model changed, for the clips of the latest run.

    Nothing before the stage is touched, and raw files are not searched for new clips. Rows of before and versions
    published before stay as they are; `harp versions diff` shows what changed.

    Example:

      harp reprocess tabletop --from-stage alignment --lake lake --set alignment.warp.time_weight=0.3
    """
    from harp.progress import ProgressBars
    from pipelines.curate import Curation
    from pipelines.engine.executors import make_executor
    from pipelines.recipe import load_curate_recipe
    from pipelines.reprocess import reprocess as run
    from pipelines.runs import latest_run

    loaded, opened = load_curate_recipe(recipe, _changes(set_, max_failed_fraction)), open_lake(lake)
    previous = latest_run(opened, loaded.dataset)
    with ProgressBars() as bars, make_executor(executor) as workers:
        curation = Curation(loaded, previous.raw_root, opened, workers, None, bars)
        run(curation, previous, from_stage)
    print_run(curation.record, opened, curation.view)


@app.command()
def status(
    lake: LakeOption = Path("lake"),
    dataset: Annotated[
        str | None, typer.Option(help="Only this data set; default: the latest run's.")
    ] = None,
    failures: Annotated[int, typer.Option(min=0, help="How many problems to name.")] = 20,
) -> None:
    """Say how the stages of the latest run stand, also while it goes on, and name what failed.

    The pace is that of the run; what is pending at this pace gives the time left.
    """
    from pipelines.runs import latest_run
    from pipelines.standing import standings

    opened = open_lake(lake)
    run = latest_run(opened, dataset)
    state = f"version {run.version_id}" if run.version_id else "not published"
    table = Table(box=SIMPLE, collapse_padding=True, pad_edge=False)
    table.title = f"{run.dataset}: latest run {run.started_at[:19]}, {state}"
    for column in ("stage", "items", "done", "filtered", "failed", "pending", "per s", "left"):
        if column in ("filtered", "failed"):
            table.add_column(column, overflow="fold")  # a reason is broken rather than cut
        else:
            table.add_column(column, justify="left" if column == "stage" else "right", no_wrap=True)
    for stage in standings(opened, run):
        if stage.state == "to come":
            table.add_row(stage.stage.replace("_", " "), *["–"] * 7, style="dim")
            continue
        left = stage.seconds_left
        table.add_row(
            stage.stage.replace("_", " "),
            str(stage.total),
            str(stage.done),
            _reasons(stage.filtered or {}),
            _reasons(stage.failed or {}),
            str(stage.pending),
            f"{stage.rate:.2f}" if stage.finished else "",
            "" if stage.state == "over" or left is None else str(timedelta(seconds=round(left))),
        )
    console.print(table)
    print_problems(opened, run, failures)


@versions_app.callback()
def versions(context: typer.Context, lake: LakeOption = Path("lake")) -> None:
    """Published versions: list them, newest first; `diff` says what changed. Training takes a version.

    A star marks the latest of each data set: the one published last, which may be an older one whose content came back.

    Examples:

      harp versions --lake lake

      harp versions diff 4c0529ce2017eaea latest --lake lake
    """
    if context.invoked_subcommand:
        context.default_map = {"diff": {"lake": str(lake)}}  # `--lake` before the word counts, too
        return
    from data_schemas.versions import latest_versions
    from pipelines.shards.publish import list_versions

    opened = open_lake(lake)
    manifests, latest = list_versions(opened), latest_versions(opened.folder)
    if not manifests:
        console.print(f"No version is published in {escape(str(lake))}: `harp curate` makes the first.")
        return
    table = Table(box=SIMPLE, pad_edge=False, collapse_padding=True)
    for column in ("version", "data set", "created", "pairs", "held\nout", "singles", "frames", "MB"):
        named = column in ("version", "data set", "created")
        table.add_column(
            column, justify="left" if named else "right", no_wrap=column != "data set", overflow="fold"
        )
    for manifest in manifests:
        counts = manifest.counts
        megabytes = sum(shard.num_bytes for shard in manifest.shards) / 1e6
        table.add_row(
            manifest.version_id + (" *" if latest.get(manifest.dataset) == manifest.version_id else ""),
            manifest.dataset,
            manifest.created_at[:10],
            *(str(counts.get(k, 0)) for k in ("pairs", "held_out_pairs")),
            str(counts.get("human", 0) + counts.get("robot", 0)),
            str(counts.get("frames", 0)),
            f"{megabytes:.1f}",
        )
    console.print(table)
    console.print("* the latest of its data set, which `--version latest` takes")


@versions_app.command("diff")
def versions_diff(
    before: Annotated[str, typer.Argument(help="Id of a version, or latest.")],
    after: Annotated[str, typer.Argument(help="Id of the version to compare it with.")] = "latest",
    lake: LakeOption = Path("lake"),
    dataset: VersionDatasetOption = None,
) -> None:
    """Say what changed from one version to another: settings, recomputed stages, subjects, shards."""
    from pipelines.version_diff import diff_versions

    diff = diff_versions(open_lake(lake), before, after, dataset)
    if diff.is_empty:
        console.print(f"Both are version {diff.before}.")
        return
    table = Table(box=SIMPLE, title=f"{diff.before} → {diff.after}")
    for column in ("what", "before", "after"):
        table.add_column(column)
    for changes in (diff.settings, diff.counts, diff.licenses):
        for name, (old, new) in changes.items():
            table.add_row(name, str(old), str(new))
    table.add_row("shards", *(str(number) for number in diff.shards))
    console.print(table)
    console.print(f"Shards with the same bytes: {diff.shared_shards}")
    console.print(f"Stages computed anew: {', '.join(diff.stages) or 'none'}")
    for name, subjects in (
        ("added", diff.added),
        ("removed", diff.removed),
        ("moved to the other split", diff.moved),
    ):
        shown = ", ".join(subjects[:SHOWN_AFTER_A_RUN]) + (", …" if len(subjects) > SHOWN_AFTER_A_RUN else "")
        console.print(f"Subjects {name}: {len(subjects)}" + (f" ({shown})" if subjects else ""))


@app.command()
def report(
    lake: LakeOption = Path("lake"),
    run: Annotated[
        Path | None, typer.Option(help="Folder of a stage-1 training to show beside the data.")
    ] = None,
    stage2: Annotated[Path | None, typer.Option(help="Folder of a stage-2 training.")] = None,
    stage3: Annotated[
        Path | None, typer.Option(help="Folder of a stage-3 training: its curves, success and films.")
    ] = None,
    out: Annotated[Path, typer.Option(dir_okay=False, help="The page to write.")] = Path("report.html"),
    dataset: Annotated[str | None, typer.Option(help="Which data set; default: the latest run's.")] = None,
    pairs: Annotated[int, typer.Option(min=0, help="How many pairs to show as contact sheets.")] = 12,
) -> None:
    """Write one self-contained HTML page: what came in, what was left out and why, and what came of it."""
    from pipelines.quality.report.page import write_report

    if stage2 and not stage3:
        raise UserError("The page shows stage 2 as what stage 3 began with: give --stage3, too.")
    policy = (stage2, stage3) if stage3 else None
    write_report(open_lake(lake), out, training=run, dataset=dataset, max_pairs=pairs, policy=policy)
    console.print(
        f"Report: [bold]{escape(str(out))}[/] ({out.stat().st_size / 1e6:.1f} MB, one file, opens in any browser)",
        soft_wrap=True,
    )


def print_run(run: "RunRecord", lake: "Lake", view: "RunView | None" = None) -> None:
    """What a curation did, and what it left out."""
    if not run.items_processed and not run.version_is_new:
        stands = "is the latest again" if run.reverted else "stands"
        console.print(
            f"Nothing new: all {run.stages[0].total} clips were curated before. Version {run.version_id} {stands}; "
            f"what is left out of it: harp status --lake {pasted(lake.root)}",
            soft_wrap=True,
        )
        return
    print_problems(lake, run, SHOWN_AFTER_A_RUN, view)
    old = "The latest again:" if run.reverted else "Unchanged:"
    state = "Published" if run.version_is_new else old
    console.print(
        f"{state} version [bold]{run.version_id}[/] in {escape(str(lake.root))}. "
        f"Next: harp report --lake {pasted(lake.root)}",
        soft_wrap=True,
    )


def print_problems(lake: "Lake", run: "RunRecord", limit: int, view: "RunView | None" = None) -> None:
    """Name what failed, was filtered or was rejected, with the reason: one line and one sentence each."""
    from pipelines.left_out import problems, rejections
    from pipelines.outlines import RunView

    view = view or RunView.of(lake, run)
    lines = [
        (
            entry.outcome,
            entry.stage,
            entry.reason,
            entry.label,
            (entry.detail.strip().splitlines() or [""])[-1],
        )
        for entry in problems(lake, run, view)
    ]
    lines += [
        ("rejected", "verdicts", ", ".join(rejection.reasons), rejection.source, "")
        for rejection in rejections(lake, run, view)
    ]
    for outcome, stage, reason, label, sentence in lines[:limit]:
        colour = "red" if outcome == "failed" else "yellow"
        console.print(f"[{colour}]{outcome}[/] {stage.replace('_', ' ')}: [bold]{reason}[/] ", end="")
        console.print(f"{label}" + (f"\n  {sentence}" if sentence else ""), highlight=False, markup=False)
    if len(lines) > limit:
        console.print(
            f"and {len(lines) - limit} more: harp status --lake {pasted(lake.root)} --failures {len(lines)}",
            soft_wrap=True,
        )


def _changes(changes: list[str] | None, max_failed_fraction: float | None) -> list[str]:
    """What the command line changes of a recipe."""
    allowed = [] if max_failed_fraction is None else [f"max_failed_fraction={max_failed_fraction}"]
    return [*(changes or []), *allowed]


def _reasons(reasons: dict[str, int]) -> str:
    return "\n".join(f"{reason} {count}" for reason, count in reasons.items())
