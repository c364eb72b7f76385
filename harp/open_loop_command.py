"""`harp evaluate actions`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from harp.options import PolicyDatasetOption

console = Console()


def evaluate_actions(
    policy: Annotated[str, typer.Option(help="Folder of a finished stage-3 run, or the policy in it.")],
    demonstrations: Annotated[Path, typer.Option(help="Folder of `harp simulate demonstrations`.")],
    skip: Annotated[
        int,
        typer.Option(
            min=0, help="Leave out the first so many episodes of each task: those it was trained on."
        ),
    ] = 0,
    episodes: Annotated[
        int | None, typer.Option(min=1, help="Of each task, after those; default: all.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; default: RUN/evaluation/actions.")
    ] = None,
    dataset: PolicyDatasetOption = None,
) -> None:
    """Compare a policy's actions with those of demonstrations, step by step, without a simulation.

    Errors are mean absolute differences of normalized actions, over whole chunks and over the first action of each.
    Writes evaluation.json, evaluation.md and actions.png, which shows what was done and what the policy would do.

    Example:

      harp evaluate actions --policy runs/stage3 --demonstrations demonstrations --skip 100
    """
    from harp.evaluation.closed_loop.evaluate import default_out
    from harp.evaluation.open_loop import evaluate_open_loop
    from harp.policy.checkpoints.folder import find_policy
    from harp.progress import ProgressBars

    folder = out or default_out(str(find_policy(policy)), "actions")
    with ProgressBars() as show:
        result = evaluate_open_loop(
            policy,
            demonstrations,
            folder,
            skip=skip,
            episodes=episodes,
            dataset=dataset,
            progress=lambda done, total: show("episodes", done, total, ""),
        )
    console.print(result.table())
    console.print(f"Written to [bold]{escape(str(folder))}[/]", soft_wrap=True)
