"""Help pages: paragraphs flow at any width of the terminal, examples keep their lines."""

import inspect

import typer


def let_flow(app: typer.Typer) -> None:
    """Let the texts of all commands below `app` flow, which Typer breaks where the source does."""
    for command in app.registered_commands:
        text = command.help or (command.callback.__doc__ if command.callback else None)
        command.help = flowing(text) if text else None
    for group in app.registered_groups:
        if group.typer_instance is not None:
            let_flow(group.typer_instance)


def flowing(text: str) -> str:
    """Each paragraph on one line; what is indented stays as it is."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(
        paragraph if paragraph.startswith(" ") else paragraph.replace("\n", " ") for paragraph in paragraphs
    )
