"""Published versions: an immutable manifest that names every shard by its checksum.

Training takes a version, not a folder. The version's id is a hash of its content, so publishing the same
content twice gives the same version.
"""

from pydantic import BaseModel, ConfigDict

from data_schemas import SCHEMA_VERSION


class ShardFile(BaseModel):
    """One tar of a version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    """Relative to the lake's root."""
    sha256: str
    num_bytes: int
    num_samples: int


class Manifest(BaseModel):
    """Content of `versions/<version_id>/manifest.json`; the samples' index lies beside it as `index.parquet`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
