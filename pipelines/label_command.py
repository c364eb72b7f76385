"""`harp label`: latent actions of every transition of a published version."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from harp.options import LakeOption, VersionDatasetOption
from harp.pasting import pasted

app = typer.Typer()
console = Console()


@app.command()
def label(
    model: Annotated[Path, typer.Option("--stage1", "--model", help="Folder of a finished stage-1 run.")],
    version: Annotated[
        str, typer.Option(help="Version id, 'latest', or the path of a version's folder.")
    ] = "latest",
    dataset: VersionDatasetOption = None,
    lake: LakeOption = Path("lake"),
    horizon: Annotated[
        list[float] | None,
        typer.Option(
            min=0.01,
            help="Seconds between the two frames; may be repeated. Default: the middle of stage 1's.",
        ),
    ] = None,
    precision: Annotated[
        Literal["auto", "fp32", "bf16"],
        typer.Option(
            help="bf16 is faster where the processor has it, as auto finds out; a few codes may differ."
        ),
    ] = "fp32",
    executor: Annotated[
        Literal["local", "ray"], typer.Option(help="Where clips are labelled: in this process, or on Ray.")
    ] = "ray",
    gpus: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Of each worker on Ray, may be a fraction. Default: one where the cluster has any; 0 labels on CPUs.",
        ),
    ] = None,
    max_failed_fraction: Annotated[
        float, typer.Option(min=0, max=1, metavar="SHARE", help="Share of the clips that may fail.")
    ] = 0.0,
) -> None:
    """Label every transition of a version with its latent action, for `harp train stage2`.

    Human videos go through the frozen encoder, robot videos through the adapted one, and HARP-LAM reads the codes of
    every frame and the one a horizon later. Labels go to the table latent_actions of the version's lake. Running
    again does only what is missing; another model, version or horizon makes labels of its own.

    Examples:

      harp label --stage1 runs/stage1 --lake lake

      harp label --stage1 runs/stage1 --version 5f0c3a9e12345678 --horizon 0.5 --horizon 1.5 --gpus 0.5
    """
    from harp.data.version import PublishedVersion, version_folder
    from harp.progress import ProgressBars
    from pipelines.engine.executors import make_executor
    from pipelines.label import label_version

    opened = PublishedVersion.open(version_folder(lake, version, dataset))
    with ProgressBars() as bars, make_executor(executor) as workers:
        done = label_version(
            opened,
            model,
            workers,
            horizons=tuple(horizon or ()),
            precision=precision,
            gpus=gpus,
            max_failed_fraction=max_failed_fraction,
            progress=lambda finished, total: bars("latent_actions", finished, total),
        )
    labels, summary = done.labels, done.summary
    for reason, number in labels.left_out.items():
        console.print(f"[yellow]without labels[/] {reason}: {number} clips")
    if not summary.processed:
        console.print(
            f"Nothing to do: all {summary.total} clips of version {labels.version_id} were labelled."
        )
    console.print(
        f"{labels.transitions:,} transitions of {labels.clips} clips are labelled. Next: "
        f"harp train stage2 --lake {pasted(opened.lake)} --labels {labels.key} --stage1 {pasted(model)} --out runs/stage2",
        soft_wrap=True,
    )
