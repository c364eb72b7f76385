"""Names and files below a lake's root: safe names, paths that stay inside, atomic writes."""

import os
import re
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_schemas.errors import UserError
from data_schemas.storage import is_remote, upload, upload_if_absent

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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path` on success, by `move`, and is removed on failure."""
    with temporary(path.parent) as draft:
        yield draft
        move(draft, path)


@contextmanager
def temporary(folder: Path) -> Iterator[Path]:
    """A path on disk, in the folder if that is local, that is removed at the end if it still exists."""
    if is_remote(folder):
        folder = Path(tempfile.gettempdir())
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{uuid.uuid4().hex}.tmp"
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def move(draft: Path, path: Path) -> None:
    """Give a finished file its name: readers see all of it or nothing, even after a power cut."""
    if is_remote(path):
        upload(draft, path)
        return
    _flush(draft)
    draft.replace(path)


def move_if_absent(draft: Path, path: Path) -> bool:
    """Like `move`, unless the name is taken already: of several writers the first one wins.

    Returns:
        Whether it was this one.
    """
    if is_remote(path):
        return upload_if_absent(draft, path)
    _flush(draft)
    try:
        os.link(draft, path)
    except OSError:
        if path.exists():
            return False
        draft.replace(path)  # a file system without hard links
    return True


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
