"""`harp model`: what the models of a recipe look like."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harp.options import SetOption

if TYPE_CHECKING:
    from harp.describe import Part, Source

app = typer.Typer(no_args_is_help=True, help="Models: what a recipe builds.")
console = Console()


@app.callback()
def _group() -> None:
    """Keeps `describe` a command of its own while it is the only one."""


@app.command()
def describe(
    recipe: Annotated[str, typer.Option(help="laptop, paper, or a YAML file.")] = "laptop",
    set_: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, on standard output.")] = False,
) -> None:
    """Every part with its shapes, tokens, parameters and the source of its weights.

    Nothing is downloaded and no weights are needed: shapes are computed without numbers.

    Example:

      harp model describe --recipe paper --set latent_action.width=1024 --set latent_action.heads=16
    """
    from harp.describe import describe_stage1
    from harp.recipes import load_stage1_recipe

    model = describe_stage1(load_stage1_recipe(recipe, set_ or []), f"stage 1, recipe {recipe}")
    if as_json:
        typer.echo(json.dumps(asdict(model), indent=2, ensure_ascii=False))
    else:
        console.print(_table(model))


def _table(model: "Part") -> Table:
    table = Table(title=model.name, title_justify="left", box=None, pad_edge=False)
    for column in ("part", "input → output", "tokens", "parameters", "trainable", "weights, notes"):
        right = column in ("tokens", "parameters", "trainable")
        table.add_column(column, justify="right" if right else "left", no_wrap=right)
    for depth, part in model.walk():
        name = part.name if depth else "all"
        table.add_row(
            Padding(Text(name, style="bold" if part.parts else ""), (0, 0, 0, 2 * depth)),
            part.shapes,
            "" if part.tokens is None else str(part.tokens),
            millions(part.parameters),
            millions(part.trainable),
            "\n".join(
                line for line in (_weights(part.source), f"[dim]{part.note}[/]" * bool(part.note)) if line
            ),
        )
    return table


def millions(number: int) -> str:
    """`10.89 M`, `2.0 k`, `-` for none."""
    if number >= 1e5:
        return f"{number / 1e6:.2f} M"
    return f"{number / 1e3:.1f} k" if number else "-"


def _weights(source: "Source | None") -> str:
    if source is None:
        return ""
    state = "[green]here[/]" if source.present else "[yellow]not here[/]"
    if source.license is None:
        return f"{source.name}: {state}"
    return f"{source.name}@{source.revision}, {source.license}, {source.megabytes:.0f} MB: {state}"
