"""`harp simulate …`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulation.calvin.cli import calvin

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

app = typer.Typer(no_args_is_help=True)
app.command()(calvin)


@app.callback()
def simulate() -> None:
    """Make demonstrations on a simulated table: human-robot pairs with ground truth, or a robot's with actions."""


def _progress(console: "Console") -> "Progress":
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("simulating"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console)


@app.command()
def tabletop(
    *,
    out: Annotated[Path, typer.Option(help="Folder to write; an earlier simulation there is continued.")],
    pairs: Annotated[int, typer.Option(help="Number of human-robot pairs.")] = 0,
    task: Annotated[
        list[str] | None,
        typer.Option(help="pick_place, push, press, flip; may be repeated. Default: all, in turns."),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Everything follows from it; pair i depends on seed and i only.")
    ] = 0,
    robot: Annotated[str, typer.Option(help="xarm7_gripper, xarm7_inspire or panda.")] = "xarm7_gripper",
    unpaired_human: Annotated[
        int, typer.Option(metavar="N", help="Human demonstrations without a robot's.")
    ] = 0,
    unpaired_robot: Annotated[
        int, typer.Option(metavar="N", help="Robot demonstrations without a human's.")
    ] = 0,
    size: Annotated[int, typer.Option(help="Width and height of the videos in pixels.")] = 224,
    rate: Annotated[
        float | None, typer.Option(help="Frames per second.", show_default="irregular 8 to 10")
    ] = None,
    own_looks: Annotated[
        bool,
        typer.Option(
            "--own-looks",
            help="Human and robot of a pair stand in differing rooms and light, which makes partners hard to find.",
        ),
    ] = False,
    processes: Annotated[int, typer.Option(min=1, help="Pairs simulated at the same time.")] = 1,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Delete an earlier simulation in the folder first.")
    ] = False,
) -> None:
    """Simulate four tasks on a table, each done once by a human hand and once by a robot arm.

    The tasks are pick and place, push, press and flip. Clips are written in RH20T's layout; what is really so
    (wrist, object keypoints and their visibility, phases, which human frame belongs to which robot frame) goes to
    the side folder ground_truth/. Success rates and times go to simulation.json. A killed run continues where it
    stopped.

    Example: harp simulate tabletop --pairs 40 --out raw/tabletop
    """
    from rich.console import Console

    from simulation.content import TASKS
    from simulation.tabletop import TabletopConfig, generate

    config = TabletopConfig(
        out=out,
        pairs=pairs,
        seed=seed,
        robot=robot,
        unpaired_human=unpaired_human,
        unpaired_robot=unpaired_robot,
        size=size,
        rate=rate,
        own_looks=own_looks,
        overwrite=overwrite,
        tasks=tuple(task or TASKS),
    )
    console = Console(stderr=True)
    with _progress(console) as bar:
        item = bar.add_task("simulating", total=pairs + unpaired_human + unpaired_robot)
        summary = generate(
            config, lambda done, total: bar.update(item, completed=done, total=total), processes
        )
    seconds = summary["seconds_per_pair"]
    pace = f", {seconds:.1f} s a pair" if seconds else ""
    console.print(f"{summary['items']} demonstrations in {out}{pace}", highlight=False)


@app.command()
def demonstrations(
    *,
    out: Annotated[Path, typer.Option(help="Folder to write; an earlier run there is continued.")],
    per_task: Annotated[int, typer.Option(help="Successful episodes of each task.")] = 50,
    task: Annotated[
        list[str] | None,
        typer.Option(help="pick_place, push, press, flip; may be repeated. Default: all."),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(help="Everything follows from it; evaluation with the same seed shares the layouts."),
    ] = 0,
    robot: Annotated[
        str, typer.Option(help="Robot that grasps by contact: xarm7_gripper or panda.")
    ] = "xarm7_gripper",
    size: Annotated[int, typer.Option(help="Width and height of the videos in pixels.")] = 224,
) -> None:
    """Simulate robot demonstrations with actions, for training an action head.

    A scripted expert does the tasks in the environment that policies are evaluated in, by contact alone. Actions
    (7 numbers at 10 Hz), proprioception and the videos of both cameras are written for every episode that
    succeeded; demonstrations.json says what the numbers mean. A killed run continues where it stopped.

    Example: harp simulate demonstrations --per-task 50 --out raw/demonstrations
    """
    from rich.console import Console

    from simulation.content import TASKS
    from simulation.robot_demonstrations import DemonstrationsConfig, generate_demonstrations

    config = DemonstrationsConfig(
        out=out, per_task=per_task, seed=seed, robot=robot, size=size, tasks=tuple(task or TASKS)
    )
    console = Console(stderr=True)
    with _progress(console) as bar:
        item = bar.add_task("simulating", total=per_task * len(config.tasks))
        rates = generate_demonstrations(
            config, lambda done, total: bar.update(item, completed=done, total=total)
        )
    shares = ", ".join(f"{task} {rate:.0%}" for task, rate in rates.items())
    console.print(
        f"{per_task * len(rates)} demonstrations in {out}; the expert succeeded in {shares}", highlight=False
    )
