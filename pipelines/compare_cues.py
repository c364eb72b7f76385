"""`harp compare-cues A B`: how far two annotators agree, on the demonstrations that both have seen."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer()
console = Console()


@app.command("compare-cues")
def compare_cues(
    a: Annotated[
        str, typer.Argument(help="A lake, or LAKE@KEY: the rows of one stage key (its beginning is enough).")
    ],
    b: Annotated[str, typer.Argument(help="The other one; may be the same lake with another key.")],
    out: Annotated[
        Path,
        typer.Option(file_okay=False, help="Folder for the table, comparison.json and the pictures."),
    ] = Path("cues-comparison"),
    pictures: Annotated[int, typer.Option(min=0, help="Worst cases to draw, per cue.")] = 6,
) -> None:
    """Compare two annotators: wrist distance, object-track distance, agreement on what is visible.

    Without a key, a lake stands for its latest run. Nothing is recomputed; the raw videos are read for the pictures
    of the worst cases only.

    Examples:

      harp compare-cues lake-default lake-tapir

      harp compare-cues lake@3fa2c1 lake@90be77 --out agreement --pictures 12
    """
    from pipelines.objects.comparison import compare, read_annotator, write

    comparison = compare(read_annotator(a), read_annotator(b))
    drawn = write(comparison, out, pictures)
    console.print(comparison.table())
    console.print(f"{len(comparison.rows)} comparisons and {drawn} pictures of the worst in [bold]{out}[/]")
