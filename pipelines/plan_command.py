"""`harp plan`: hours, memory and disk that curating a data set will take."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from harp.options import LakeOption, RawRootOption

if TYPE_CHECKING:
    from pipelines.plan import DatasetSize, StageEstimate

console = Console()


def plan(
    recipe: Annotated[str, typer.Argument(help="The recipe of the data set, by name or YAML file.")],
    root: RawRootOption,
    lake: LakeOption = Path("lake"),
    cpus: Annotated[int, typer.Option(min=1, help="CPUs of the machine or cluster.")] = 8,
    gpus: Annotated[int, typer.Option(min=0, help="GPUs.")] = 0,
    memory_gb: Annotated[float, typer.Option(min=0, help="Memory, all nodes together.")] = 32.0,
    sample: Annotated[
        int | None, typer.Option(min=2, help="First curate so many clips into the lake, to measure them.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change the recipe: key.path=value. May be repeated.")
    ] = None,
) -> None:
    """Estimate what curating a data set takes: time on so many workers, memory, disk.

    Costs per frame come from the ledger of clips that were curated with this very recipe, so measure some first, on the
    kind of machine that will do the work; their results are kept and not computed again.

    Examples:

      harp plan rh20t --root /data/RH20T --lake lake --sample 16

      harp plan rh20t --root /data/RH20T --lake lake --cpus 256 --gpus 8 --memory-gb 1024
    """
    from data_schemas.errors import UserError
    from pipelines.curate import STEPS, Curation
    from pipelines.engine.executors import make_executor
    from pipelines.engine.lake import Lake
    from pipelines.plan import Machine, bytes_per_frame, estimate, measure, survey
    from pipelines.recipe import load_curate_recipe

    loaded, opened = load_curate_recipe(recipe, set_ or []), Lake(lake)
    with make_executor("local") as workers:
        curation = Curation(loaded, root, opened, workers, sample, recorded=False)
        if sample is not None:
            for step in STEPS:  # and no version: training would take one of so few clips for the latest
                step(curation)
    costs = measure(opened, curation.keys)
    if "wrist_tracks" not in costs:
        raise UserError(
            f"The ledger of {lake} knows nothing of {recipe} with these settings: add --sample 16 to curate and "
            "measure 16 clips, or give the lake of an earlier `harp curate`."
        )
    size = survey(loaded.make_reader(), curation.raw_root)
    estimates = estimate(costs, size, curation.stages, Machine(cpus, gpus, memory_gb))
    idle = () if loaded.camera.moving else ("camera_motion",)
    missing = [name.replace("_", " ") for name in curation.stages if name not in costs and name not in idle]
    _show(size, estimates, bytes_per_frame(opened, curation.keys), missing)


def _show(
    size: "DatasetSize", estimates: list["StageEstimate"], frame_bytes: float, missing: list[str]
) -> None:
    clips = ", ".join(f"{count:,} {embodiment}" for embodiment, count in sorted(size.clips.items()))
    margin = f" ± {2 * size.error:,.0f}" if size.error else ""
    console.print(f"{clips} clips, {size.all_frames:,.0f}{margin} frames", highlight=False)
    if size.unreadable:
        console.print(f"[yellow]{size.unreadable} of the videos looked at cannot be opened.[/]")
    table = Table(box=SIMPLE)
    embodiments = sorted(size.clips)
    columns = [f"ms / {e} frame" for e in embodiments]
    for column in ("stage", *columns, "work", "workers", "time", "MB / worker", "GPU MB"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for stage in estimates:
        table.add_row(
            stage.stage.replace("_", " "),
            *(f"{1000 * stage.seconds_per_frame.get(e, 0.0):.2f}" for e in embodiments),
            _time(stage.work_seconds),
            str(stage.workers),
            _time(stage.seconds),
            f"{stage.memory_mb:.0f}",
            f"{stage.gpu_memory_mb:.0f}" if stage.gpu_memory_mb else "",
        )
    table.add_section()
    work, seconds = (sum(getattr(s, name) for s in estimates) for name in ("work_seconds", "seconds"))
    table.add_row("all", *("" for _ in embodiments), _time(work), "", _time(seconds), "", "")
    console.print(table)
    if missing:
        console.print(f"Not measured, and not in the sum: {', '.join(missing)}")
    console.print(f"Shards: about {size.all_frames * frame_bytes / 1e9:.2f} GB", highlight=False)


def _time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
