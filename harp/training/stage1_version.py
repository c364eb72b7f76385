"""Which version a run of stage 1 continues with, where nobody names one."""

import json
from pathlib import Path

from harp.training.run_folder import begun_request


def begun_on(out: Path, lake: Path, dataset: str | None = None) -> Path | None:
    """Folder of the version that the run in `out` was begun on, while the lake has it; None where none was begun.

    A killed run continues with it when the same command is given again, whatever was published in between.

    Args:
        out: folder of the run.
        lake: that the version is looked for in.
        dataset: whose version it has to be; any by default.
    """
    version = (begun_request(out) or {}).get("version")
    if version is None:  # no run, or one of a later stage, which is refused once it is claimed
        return None
    folder = lake / "versions" / version
    manifest = folder / "manifest.json"
    if not manifest.is_file() or dataset not in (None, json.loads(manifest.read_text())["dataset"]):
        return None
    return folder
