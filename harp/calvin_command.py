"""`harp evaluate calvin`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from harp.options import PolicyDatasetOption

console = Console()


def evaluate_calvin(
    policy: Annotated[
        str,
        typer.Option(
            help="Folder of a finished stage-3 run (or the policy in it), or a reference: expert, noop."
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="HARP_CALVIN",
            help="Your checkout of calvin_env (data/, conf/) or of calvin; with calvin-official your CALVIN dataset.",
        ),
    ] = None,
    chains: Annotated[
        int, typer.Option(min=1, max=1000, help="The first so many of the benchmark's 1,000 chains.")
    ] = 1000,
    environment: Annotated[
        str,
        typer.Option(help="calvin: HARP's, by PyBullet alone. calvin-official: an installed calvin_env."),
    ] = "calvin",
    scene: Annotated[str, typer.Option(help="A, B, C or D; the benchmark's chains belong to D.")] = "D",
    renderer: Annotated[
        str, typer.Option(help="tiny: on the CPU, anywhere. egl: OpenGL, as CALVIN's data were rendered.")
    ] = "tiny",
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; default: RUN/evaluation/calvin.")
    ] = None,
    replan: Annotated[
        int | None,
        typer.Option(min=1, help="Actions carried out of each chunk before the policy looks again."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that run chains at the same time.")] = 1,
    dataset: PolicyDatasetOption = None,
) -> None:
    """Evaluate a policy on CALVIN: five tasks in a row, told one at a time, from 1,000 starts.

    A task has 360 steps and is judged by CALVIN's oracle; the figure is the average number of tasks done in a row.
    Writes result.json as the authors' script does, success_rate.txt and evaluation.md. A killed evaluation continues.
    CALVIN's files are yours to get: git clone https://github.com/mees/calvin --recurse-submodules.

    Examples:

      harp evaluate calvin --policy runs/stage3 --data ~/calvin --workers 8

      harp evaluate calvin --policy expert --data ~/calvin --chains 20 --out evaluation/calvin-expert
    """
    from harp.evaluation.calvin import chain_environment, configuration
    from harp.evaluation.calvin import evaluate_calvin as evaluate
    from harp.evaluation.closed_loop.evaluate import default_out
    from harp.progress import ProgressBars

    folder = out or default_out(policy, environment)
    with ProgressBars() as show:
        result = evaluate(
            chain_environment(environment, data, scene, renderer),
            configuration(environment, scene, renderer, policy, replan, dataset),
            policy,
            folder,
            chains=chains,
            workers=workers,
            progress=lambda done, total, average: show("chains", done, total, f"average {average:.2f}"),
        )
    console.print(result.table())
    console.print(f"Written to [bold]{escape(str(folder))}[/]", soft_wrap=True)
