"""Files that say how far a folder is: a kill leaves the old content or the new, never a half."""

import os
from pathlib import Path


def write_state(file: Path, text: str) -> None:
    """Write it beside the file, then put it in its place."""
    part = file.with_suffix(".part")
    part.write_text(text)
    os.replace(part, file)
