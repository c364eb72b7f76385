"""Command-line options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer


def parse_location(text: str) -> Path:
    """A folder, or the URL of one in an object store, which `pathlib.Path` would shorten to one slash."""
    from data_schemas.storage import location  # its file systems load slowly

    return location(text)


LakeOption = Annotated[
    Path,
    typer.Option(
        "--lake",
        envvar="HARP_LAKE",
        parser=parse_location,
        metavar="FOLDER|URL",
        help="Folder of the lake, or s3://bucket/folder.",
    ),
]
_RAW_ROOT = typer.Option(
    "--root",
    parser=parse_location,
    metavar="FOLDER|URL",
    help="Folder of the raw videos, or s3://bucket/folder.",
)
RawRootOption = Annotated[Path, _RAW_ROOT]
OptionalRawRootOption = Annotated[Path | None, _RAW_ROOT]
VersionDatasetOption = Annotated[
    str | None,
    typer.Option("--dataset", help="Whose latest version is meant, where the lake has several data sets."),
]
PolicyDatasetOption = Annotated[
    str | None,
    typer.Option("--dataset", help="Whose statistics, if the policy has those of several robots."),
]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Change the recipe: key.path=value.")]
WorkersOption = Annotated[
    int,
    typer.Option(
        min=1,
        help="More than one run on Ray, each with its part of a batch and a GPU of its own, or all on CPUs where there is "
        "no GPU.",
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        envvar="RAY_ADDRESS",
        help="Ray cluster that trains, given on one of its nodes; default: this machine.",
    ),
]
