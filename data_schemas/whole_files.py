"""Files that readers see whole or not at all, also after a kill: written under another name, then put in their place.

The other name ends in `.tmp`, so that a library which goes by the suffix has to be told the format.
"""

import os
import tempfile
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from data_schemas.storage import is_remote, upload, upload_if_absent


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """A temporary path that becomes `path` on success, by `move`, and is removed on failure."""
    with temporary(path.parent) as draft:
        yield draft
        move(draft, path)


@contextmanager
def temporary(folder: Path) -> Generator[Path]:
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
