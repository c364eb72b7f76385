"""Commands of the researcher: `harp train`, `harp evaluate`, `harp weights`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harp.calvin_command import evaluate_calvin
from harp.closed_loop_command import evaluate_tabletop
from harp.open_loop_command import evaluate_actions
from harp.options import AddressOption, LakeOption, SetOption, VersionDatasetOption, WorkersOption
from harp.pasting import pasted
from harp.policy_commands import train_stage2, train_stage3
from harp.training.launch import launcher

app = typer.Typer()
console = Console()

train_app = typer.Typer(no_args_is_help=True, help="Train models on a published version.")
evaluate_app = typer.Typer(no_args_is_help=True, help="Evaluate trained models.")
weights_app = typer.Typer(
    no_args_is_help=True, help="Pretrained weights: what HARP uses, from where, under which licence."
)
app.add_typer(train_app, name="train")
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(weights_app, name="weights")

VersionOption = Annotated[
    str,
    typer.Option(
        help="Version id, 'latest', or the path of a version's folder; a run begun on 'latest' stays with its version."
    ),
]


@train_app.command("stage1")
def train_stage1(
    out: Annotated[
        Path, typer.Option(help="Folder of the run: checkpoints, logs, adapter. A killed run continues.")
    ],
    version: VersionOption = "latest",
    dataset: VersionDatasetOption = None,
    lake: LakeOption = Path("lake"),
    recipe: Annotated[str, typer.Option(help="laptop, paper, or a YAML file.")] = "laptop",
    row: Annotated[
        str | None,
        typer.Option(
            help="Row of the paper's tables, e.g. hr, harp-l2, harp-sr, paired-only: changes to the recipe."
        ),
    ] = None,
    set_: SetOption = None,
    workers: WorkersOption = 1,
    address: AddressOption = None,
) -> None:
    """Train HARP-VE (aligned vision encoder) and HARP-LAM (latent action model) together.

    Human videos go through the frozen encoder, robot videos through the same encoder with small adapters.
    Only pairs of the training split are seen; the held-out ones are for `harp evaluate representation`.

    Examples:

      harp train stage1 --version latest --lake lake --out runs/stage1 --set training.steps=500
      harp train stage1 --lake lake --out runs/l2 --row harp-l2 --workers 4 --address head:6379
    """
    from data_schemas.versions import LATEST
    from harp.data.version import version_folder
    from harp.recipes import load_stage1_recipe
    from harp.recipes.rows import row_overrides
    from harp.training.curves import draw_run
    from harp.training.progress import bars
    from harp.training.stage1 import train_stage1 as run
    from harp.training.stage1_version import begun_on

    overrides = [*(row_overrides(row) if row else []), *(set_ or [])]
    config = load_stage1_recipe(recipe, overrides)
    begun = begun_on(out, lake, dataset) if version == LATEST else None
    folder = begun or version_folder(lake, version, dataset)
    with bars() as observers:
        result = run(config, folder, out, launch=launcher(workers, out, address), observers=observers)
    if result.already_finished:
        console.print(
            f"Nothing to do: {escape(str(out))} holds this run on version {result.version_id}, "
            f"finished after {result.steps} steps.",
            soft_wrap=True,
        )
    else:
        console.print(
            f"Trained {result.steps} steps; curves: {escape(str(draw_run(out)))}. "
            f"Next: harp evaluate representation --stage1 {pasted(out)}",
            soft_wrap=True,
        )


train_app.command("stage2")(train_stage2)
train_app.command("stage3")(train_stage3)


@train_app.command("curves")
def draw_curves(
    runs: Annotated[list[Path], typer.Argument(help="Folders of training runs, finished or not.")],
    out: Annotated[Path, typer.Option(help="PNG, SVG or PDF.")] = Path("curves.png"),
) -> None:
    """Draw the metrics of runs, a panel per metric and a line per run. Training commands end with a curves.png.

    Example:

      harp train curves runs/srpd runs/l2 --out comparison.png
    """
    from harp.training.curves import draw_curves as draw

    draw({str(run): run for run in runs}, out)
    console.print(f"Written to [bold]{escape(str(out))}[/]", soft_wrap=True)


@evaluate_app.command("representation")
def evaluate_representation(
    run: Annotated[Path, typer.Option("--stage1", "--run", help="Folder of a finished stage-1 run.")],
    version: Annotated[
        list[str] | None,
        typer.Option(help="Other versions to evaluate on, may be repeated; default: the run's own."),
    ] = None,
    dataset: VersionDatasetOption = None,
    lake: LakeOption = Path("lake"),
    pairs: Annotated[
        int | None, typer.Option(min=2, help="Only the first so many held-out pairs by sorted id.")
    ] = None,
) -> None:
    """Do human and robot meet, in features and in latent actions? On held-out pairs, before and after stage 1.

    Retrieval, paired distance and code agreement with 95 % intervals, beside baselines without learning. Writes
    evaluation.json, evaluation.md and pictures into the run's folder; what was evaluated before is only shown.

    Examples:

      harp evaluate representation --stage1 runs/stage1
      harp evaluate representation --stage1 runs/stage1 --lake other_lake --version latest --pairs 93
    """
    from data_schemas.versions import LATEST
    from harp.data.version import version_folder
    from harp.evaluation.representation import evaluate_representation as evaluate
    from harp.progress import ProgressBars

    versions = version or ([LATEST] if dataset else [])
    for folder in [version_folder(lake, name, dataset) for name in versions] or [None]:
        with ProgressBars() as bars:
            evaluation = evaluate(run, folder, max_pairs=pairs, progress=bars)
        console.print(evaluation.table())
        if evaluation.latent:
            console.print(evaluation.latent_table())
    console.print(
        f"With all figures and pictures in [bold]{escape(str(run / 'evaluation'))}[/]", soft_wrap=True
    )


evaluate_app.command("actions")(evaluate_actions)
evaluate_app.command("tabletop")(evaluate_tabletop)
evaluate_app.command("calvin")(evaluate_calvin)


@weights_app.command("list")
def list_weights() -> None:
    """Every pretrained model that HARP may use, and whether it is in the cache."""
    from harp.weights.store import list_models

    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column("model", min_width=28)
    table.add_column("revision", no_wrap=True)
    table.add_column("licence", max_width=18)
    table.add_column("MB", justify="right", no_wrap=True)
    table.add_column("cached")
    for state in list_models():
        entry = state.entry
        cached = "[green]yes[/]" if state.cached else "no"
        name = f"[bold]{entry.name}[/]\n[dim]{entry.purpose}[/]"
        table.add_row(name, entry.revision, entry.license, f"{entry.size / 1e6:.0f}", cached)
    console.print(table)


@weights_app.command("pull")
def pull_weights(
    names: Annotated[list[str], typer.Argument(help="Models to fetch, as `harp weights list` names them.")],
) -> None:
    """Fetch models now, so that later runs need no network. Each is checked by its SHA-256.

    Example:

      harp weights pull dinov2-l14-reg4 siglip-so400m-14 t5-base
    """
    from harp.weights import resolve

    for name in names:
        console.print(f"{name}: {escape(str(resolve(name)))}", soft_wrap=True)


@weights_app.command("verify")
def verify_weights(
    names: Annotated[
        list[str] | None, typer.Argument(help="Models to check; default: all in the cache.")
    ] = None,
) -> None:
    """Read cached models again and compare them with what was recorded when they came.

    Example:

      harp weights verify minilm-l6
    """
    from harp.weights import list_models, verify

    for name in names or [state.entry.name for state in list_models() if state.cached]:
        console.print(f"{name}: as it came from {escape(verify(name))}", soft_wrap=True)
