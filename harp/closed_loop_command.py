"""`harp evaluate tabletop`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from harp.options import PolicyDatasetOption

console = Console()


def evaluate_tabletop(
    policy: Annotated[
        str,
        typer.Option(
            help="Folder of a finished stage-3 run (or the policy in it), or a reference: expert, noop."
        ),
    ],
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--tasks", "--task", help="pick_place, push, press, flip; may be repeated. Default: all."
        ),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Trials of each task.")] = 60,
    seed: Annotated[
        int,
        typer.Option(
            min=0,
            help="Of the start states. That of the demonstrations gives their table; another, one never seen.",
        ),
    ] = 0,
    environment: Annotated[
        str, typer.Option(help="tabletop: xArm7 with its gripper; tabletop-panda: Franka Panda.")
    ] = "tabletop",
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; default: RUN/evaluation/ENVIRONMENT.")
    ] = None,
    replan: Annotated[
        int | None,
        typer.Option(min=1, help="Actions carried out of each chunk before the policy looks again."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that run trials at the same time.")] = 1,
    films: Annotated[
        int, typer.Option(min=0, help="Successes, and failures, that are filmed of every task.")
    ] = 2,
    dataset: PolicyDatasetOption = None,
) -> None:
    """Let a policy act on the simulated table, and count how often it does what it was told.

    Trial i of a task begins the same for every policy. Success is judged by the simulation, from the poses of the
    objects at rest. Writes evaluation.json, evaluation.md and films of successes and failures; a killed evaluation
    continues, and asking for more trials runs only those that are new.

    Examples:

      harp evaluate tabletop --policy runs/stage3 --workers 2

      harp evaluate tabletop --policy runs/stage3 --task press --task push --trials 20

      harp evaluate tabletop --policy expert --trials 10 --environment tabletop-panda
    """
    from harp.evaluation.closed_loop.actors import environment_factory
    from harp.evaluation.closed_loop.evaluate import default_out, evaluate_closed_loop
    from harp.progress import ProgressBars

    folder = out or default_out(policy, environment)
    with ProgressBars() as show:
        result = evaluate_closed_loop(
            environment_factory(environment),
            environment,
            policy,
            folder,
            tasks=tasks or (),
            trials=trials,
            seed=seed,
            replan=replan,
            dataset=dataset,
            workers=workers,
            films=films,
            progress=lambda done, total, successes: show("trials", done, total, f"{successes} succeeded"),
        )
    console.print(result.table())
    console.print(f"Written to [bold]{escape(str(folder))}[/]", soft_wrap=True)
