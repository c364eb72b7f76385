"""How flows find a version and the trainings on it when nobody names a folder."""

from pathlib import Path

from data_schemas.storage import location
from harp.data.version import version_folder


def find_version(lake: str, version: str, dataset: str | None) -> Path:
    """Folder of a version.

    Args:
        version: id, `latest`, or the path of the version's folder.
        dataset: whose latest; needed where the lake has several.

    Raises:
        UserError: no such version.
    """
    return version_folder(location(lake), version, dataset)


def stage1_run(version: Path) -> Path:
    """Where the training of stage 1 on a version goes by default, so that every version has its own."""
    return Path("runs") / f"stage1-{version.name}"
