"""Commands that run Prefect flows: `harp demo`, `harp run`."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape

from data_schemas.errors import UserError

app = typer.Typer()
console = Console()


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything it makes.")] = Path("demo"),
    pairs: Annotated[int, typer.Option(min=4, help="Human–robot pairs to simulate.")] = 24,
    seed: Annotated[int, typer.Option(help="Same seed, same pixels.")] = 0,
    executor: Annotated[Literal["local", "ray"], typer.Option(help="Where curation runs.")] = "ray",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change the recipe of stage 1: key.path=value.")
    ] = None,
) -> None:
    """See all of HARP in minutes: simulate, curate, train, evaluate, report.

    Simulates people and robots doing the same tasks, curates the videos into a published version, trains the
    aligned encoder and the latent action model on it, measures both on pairs held out, pretrains a policy on latent
    actions, teaches it to press a button by robot demonstrations, lets it try, and writes OUT/report.html. Running
    again does only what is missing.
    """
    from flows.everything import check_changes, everything
    from pipelines.cli import print_run
    from pipelines.engine.lake import Lake

    # What is found wrong inside of a flow comes with Prefect's tracebacks, one of each flow and task around it.
    check_changes(set_)
    out.mkdir(parents=True, exist_ok=True)
    record = everything(str(out), pairs, seed, executor, set_)
    print_run(record, Lake(out / "lake"))
    console.print(f"Open [bold]{out / 'report.html'}[/] in a browser.")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(
    context: typer.Context,
    deployment: Annotated[str, typer.Argument(help="e.g. curate-rh20t, or Prefect's own curate/rh20t.")],
    watch: Annotated[bool, typer.Option(help="Wait for the run and show its states.")] = False,
) -> None:
    """Start a Prefect deployment: `harp run curate-rh20t` is `prefect deployment run curate/rh20t`.

    Prefect names a deployment FLOW/DEPLOYMENT and takes nothing else; this also takes FLOW-DEPLOYMENT. All other
    options, given after the name, are passed on: `prefect deployment run --help` names them.

    Examples:

      harp run curate-rh20t --watch

      harp run curate-rh20t --param limit=20 --start-in "in 2 hours"
    """
    import subprocess
    import sys

    name = deployment if "/" in deployment else deployment.replace("-", "/", 1)
    if name.count("/") != 1 or not all(name.split("/")):
        raise UserError(f"'{deployment}' names no deployment: give FLOW-DEPLOYMENT, e.g. curate-rh20t.")
    command = [sys.executable, "-m", "prefect", "deployment", "run", name, *context.args]
    command += ["--watch"] if watch else []
    code = subprocess.run(command, check=False).returncode
    if code:
        Console(stderr=True).print(
            f"[bold red]harp:[/] No run of {escape(name)} was started, or it failed. Where Prefect knows no such "
            "deployment: set PREFECT_API_URL to a running server and run `prefect --no-prompt deploy --all`.",
            highlight=False,
            soft_wrap=True,
        )
    raise typer.Exit(code)
