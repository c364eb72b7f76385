"""What two lakes must have in common if the same was curated into both, whatever happened on the way."""

import hashlib
from pathlib import Path

from data_schemas.cues import ObjectTrack, WristTrack
from data_schemas.demonstrations import Demonstration
from data_schemas.identity import file_sha256
from data_schemas.pairs import Alignment, Shard, Verdict
from pipelines.engine.lake import Lake

TABLES = (Demonstration, WristTrack, ObjectTrack, Alignment, Verdict, Shard)


def fingerprint(root: Path) -> dict[str, str]:
    """sha256 of every table, shard file and sample index; asserts that no row stands twice."""
    lake, found = Lake(root), {}
    for row_class in TABLES:
        table = lake.table(row_class).drop_columns(["committed_at"])
        table = table.sort_by([("stage_key", "ascending"), ("item_id", "ascending")])
        keys = list(zip(table["stage_key"].to_pylist(), table["item_id"].to_pylist(), strict=True))
        assert len(set(keys)) == len(keys), f"{row_class.TABLE} has rows that stand twice"
        found[row_class.TABLE] = hashlib.sha256(repr(table.to_pylist()).encode()).hexdigest()
    files = [*root.glob("shards/**/*.tar"), *root.glob("versions/*/index.parquet")]
    assert files, "nothing was published"
    return found | {str(path.relative_to(root)): file_sha256(path) for path in sorted(files)}
