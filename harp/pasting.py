"""Commands that a user is told to type next: they have to work when pasted."""

import shlex

from rich.markup import escape


def pasted(place: object) -> str:
    """A path or URL as a word of a command that a console prints; print the command with `soft_wrap`."""
    return escape(shlex.quote(str(place)))
