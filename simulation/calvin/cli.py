"""`harp simulate calvin`."""

from pathlib import Path
from typing import Annotated

import typer


def calvin(
    *,
    out: Annotated[Path, typer.Option(help="Folder to write; an earlier run there is continued.")],
    data: Annotated[
        Path | None,
        typer.Option(envvar="HARP_CALVIN", help="Your checkout of calvin_env or of calvin."),
    ] = None,
    per_task: Annotated[int, typer.Option(min=1, help="Successful episodes of each task.")] = 20,
    scenes: Annotated[
        str, typer.Option(help="Scenes that take turns; the benchmark evaluates in D.")
    ] = "ABC",
    tasks: Annotated[
        list[str] | None, typer.Option("--task", help="Tasks by name, may be repeated; default: all 34.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Everything follows from it.")] = 0,
) -> None:
    """Simulate robot demonstrations with actions in CALVIN's scenes, for training an action head.

    A script acts in place of CALVIN's own recordings of people, so what is trained on it is not comparable with
    published scores. Actions (7 numbers at 30 Hz), proprioception and the videos of both cameras are written for every
    episode that CALVIN's oracle judges a success. A killed run continues where it stopped.

    Example: harp simulate calvin --data calvin --per-task 20 --out raw/calvin
    """
    from rich.console import Console

    try:
        from simulation.calvin.demonstrations import (
            CalvinDemonstrationsConfig,
            generate_calvin_demonstrations,
        )
    except ModuleNotFoundError as error:
        from data_schemas.errors import UserError

        raise UserError(f"{error.name} is not installed: pip install 'harp-vla[calvin]'.") from None
    from simulation.calvin.chains import TASKS

    config = CalvinDemonstrationsConfig(out, data, per_task, seed, scenes, tuple(tasks or TASKS))
    console = Console(stderr=True)
    with console.status("simulating") as status:
        rates = generate_calvin_demonstrations(
            config, lambda done, total: status.update(f"simulating: {done} of {total} episodes")
        )
    console.print(
        f"{per_task * len(rates)} demonstrations in {out}; the expert succeeded in "
        f"{sum(rates.values()) / len(rates):.0%} of its trials",
        highlight=False,
    )
