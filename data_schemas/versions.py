"""Published versions: an immutable manifest that names every shard by its checksum.

Training takes a version, not a folder. The version's id is a hash of its content, so publishing the same
content twice gives the same version.
"""

import json
from pathlib import Path

from data_schemas import SCHEMA_VERSION
from data_schemas.errors import UserError
from data_schemas.strict_model import StrictModel

LATEST = "latest"
"""Stands for the version that was published last, also when its content had been published before."""

LATEST_SUFFIX = ".latest.json"
"""`versions/<dataset>.latest.json` holds the id of a data set's latest version."""


class ShardFile(StrictModel):
    """One tar of a version."""

    path: str
    """Relative to the lake's root."""
    sha256: str
    num_bytes: int
    num_samples: int


class Manifest(StrictModel):
    """Content of `versions/<version_id>/manifest.json`; the samples' index lies beside it as `index.parquet`."""

    version_id: str
    schema_version: int = SCHEMA_VERSION
    dataset: str
    created_at: str
    """UTC, ISO 8601; not part of the id."""
    shards: list[ShardFile]
    index_sha256: str
    stage_keys: dict[str, str]
    """Stage name -> key of the rows that went in."""
    recipe: dict
    """The resolved recipe that made it."""
    licenses: dict[str, int]
    """Licence -> number of samples."""
    counts: dict[str, int]
    """`pairs`, `human`, `robot` (samples' subjects), `samples`, `frames`, `train_pairs`, `held_out_pairs`."""


def latest_versions(lake: Path) -> dict[str, str]:
    """Data set -> id of its version that was published last, for every data set of a lake."""
    return {
        path.name.removesuffix(LATEST_SUFFIX): json.loads(path.read_text())["version_id"]
        for path in lake.glob(f"versions/*{LATEST_SUFFIX}")
    }


def latest_version_id(lake: Path, dataset: str | None = None) -> str:
    """Id of the version of a data set that was published last.

    Args:
        lake: root of the lake.
        dataset: whose; needed where the lake has several.

    Raises:
        UserError: nothing was published yet, or it is not clear which data set is meant.
    """
    known = latest_versions(lake)
    wanted = sorted(known) if dataset is None else [dataset]
    if len(wanted) > 1:
        raise UserError(
            f"The lake {lake} has versions of several data sets, {', '.join(wanted)}: say which by --dataset, or "
            "name a version by its id; `harp versions` lists them."
        )
    if not wanted or wanted[0] not in known:
        of = f" of {dataset}" if dataset else ""
        there = f"; it has versions of {', '.join(sorted(known))}" if known else ""
        raise UserError(f"The lake {lake} has no version{of} yet{there}: publish one with `harp curate`.")
    return known[wanted[0]]
