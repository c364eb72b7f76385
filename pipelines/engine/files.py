"""Names and paths below a lake's root: safe names, paths that stay inside."""

import re
from pathlib import Path

from data_schemas.errors import UserError

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
"""No dot and no slash: a name can neither leave its folder nor end a WebDataset key early."""


def check_name(what: str, name: str) -> str:
    """The name, if it may become part of a path.

    Raises:
        UserError: it may not.
    """
    if not SAFE_NAME.fullmatch(name):
        raise UserError(
            f"The {what} {name!r} cannot name a file: use letters, digits, '-' and '_', beginning with a letter "
            "or digit."
        )
    return name


def inside(root: Path, relative: str) -> Path:
    """`root / relative`.

    Raises:
        UserError: the path leads out of the root.
    """
    path = root / relative
    if not path.resolve().is_relative_to(root.resolve()):
        raise UserError(f"The path {relative!r} leads out of the lake {root}; it cannot be used.")
    return path
