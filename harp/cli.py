"""`harp …`: the command line, put together from the commands that each layer registers.

A lower layer must not import a higher one, so the layers announce their commands as entry points: those of
the group `harp.commands` stand at the top level, those of `harp.groups` under the name of the entry point.
"""

import gc
import logging
import sys
from importlib.metadata import entry_points
from typing import NoReturn, TypeGuard

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from data_schemas.errors import LASTING_NUMBERS, UserError
from harp.help_pages import flowing, let_flow

DESCRIPTION = """From human and robot manipulation videos to aligned training data, and from there to robot
policies that learn from people.

The usual way: [bold]curate[/] raw videos into a published version, [bold]train stage1[/] on it,
[bold]evaluate[/], then look at the [bold]report[/]. [bold]harp demo[/] does all of it, small, on
demonstrations that it simulates."""

GARBAGE_AFTER = 100_000
"""Objects made before cycles are looked for."""


def build_app() -> typer.Typer:
    """The whole command tree."""
    app = typer.Typer(
        name="harp",
        help=flowing(DESCRIPTION),
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_configure)
    for entry in sorted(entry_points(group="harp.commands"), key=lambda entry: entry.name):
        app.add_typer(entry.load())
    for entry in sorted(entry_points(group="harp.groups"), key=lambda entry: entry.name):
        app.add_typer(entry.load(), name=entry.name)
    let_flow(app)
    return app


def _configure(
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Say more about what happens."),
) -> None:
    handler = RichHandler(
        console=Console(stderr=True), show_path=False, show_level=False, log_time_format="[%X]"
    )
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for package in ("harp", "pipelines", "flows", "simulation"):
        logging.getLogger(package).setLevel(logging.DEBUG if verbose else logging.INFO)
    # Planning over 200,000 clips makes a million objects that stay. Looking for cycles among them after every 700, as
    # is the default, takes a fifth of the time.
    gc.set_threshold(GARBAGE_AFTER)


def main() -> None:
    """Entry point of `harp`. What the user can mend gives one sentence and exit status 2."""
    try:
        build_app()()
    except UserError as error:
        _end(str(error))
    except Exception as error:
        if _is_of_object_store(error):
            _end(
                f"The object store cannot be used: {error}. Its credentials and address are read from "
                "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL."
            )
        if not _is_for_the_user(error):
            raise
        logging.getLogger("harp").debug("The traceback:", exc_info=True)
        _end(f"{error.filename} cannot be used: {error.strerror}.")


def _end(sentence: str) -> NoReturn:
    Console(stderr=True).print(f"[bold red]harp:[/] {escape(sentence)}", highlight=False, soft_wrap=True)
    sys.exit(2)


def _is_for_the_user(error: Exception) -> TypeGuard[OSError]:
    """Whether the path and the system's reason say it all; `--verbose` shows the traceback of these, too."""
    return isinstance(error, OSError) and error.errno in LASTING_NUMBERS and error.filename is not None


def _is_of_object_store(error: Exception) -> bool:
    """Missing or refused credentials, an address nobody answers at, a bucket that is not there.

    The library is loaded where an object store is used only; what the store answers comes translated to an OSError.
    Delta Lake, which has a library of its own, says so in its text.
    """
    if "Generic S3 error" in str(error):
        return True
    library = sys.modules.get("botocore.exceptions")
    if library is None:
        return False
    return isinstance(error, library.BotoCoreError) or isinstance(error.__cause__, library.ClientError)
