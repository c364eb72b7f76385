"""Every table of a lake is kept small, and writers that finish meanwhile disturb nobody."""

import importlib
import os
import pkgutil
from pathlib import Path

import numpy as np
import pytest

import data_schemas
from data_schemas.camera import CameraMotion
from data_schemas.errors import UserError
from data_schemas.identity import content_id
from data_schemas.ledger import LedgerEntry
from data_schemas.pairs import Shard
from data_schemas.row import Row
from data_schemas.samples import SampleIndex
from pipelines.engine.lake import Lake
from pipelines.engine.maintenance import MAX_FILES_PER_KEY, TABLES, optimize, remove_drafts


def test_every_table_is_known() -> None:
    """All rows of the contract are a table's, but for those of a version's index."""
    for module in pkgutil.iter_modules(data_schemas.__path__, "data_schemas."):
        importlib.import_module(module.name)
    declared = {row for row in Row.__subclasses__() if row.__module__.startswith("data_schemas.")}
    assert set(TABLES) == declared - {SampleIndex}


def test_camera_motion_is_compacted(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    for i in range(6):
        row = CameraMotion(f"d{i}", "made", np.tile(np.eye(3), (2, 1, 1)), np.ones(2, np.float32))
        lake.append(CameraMotion, "key", [(f"d{i}", row)])
    (done,) = optimize(lake)
    assert (done.table, done.files_before, done.files_after) == ("camera_motion", 6, 1)
    assert lake.ids(CameraMotion, "key") == {f"d{i}" for i in range(6)}


def test_what_nothing_was_appended_to_is_left_alone(tmp_path: Path) -> None:
    """Also where a key is too large for one file."""
    lake, per_commit = Lake(tmp_path / "lake"), 3000

    def append(key: str, commits: range) -> None:
        for commit in commits:
            names = [content_id(str(commit), str(i)) for i in range(per_commit)]
            rows = [
                (name, Shard(name, content_id("path", name), content_id("sum", name), 1, 1, 1))
                for name in names
            ]
            lake.append(Shard, key, rows)

    def files(key: str) -> set[str]:
        return set(lake.files(Shard, key))

    # Stands for the 100 MB of a real table.
    lake.opened(Shard).alter.set_table_properties({"delta.targetFileSize": "100000"})
    append("grows", range(6))
    append("stands", range(6))
    list(optimize(lake))
    joined = {key: files(key) for key in ("grows", "stands")}
    assert all(len(names) > MAX_FILES_PER_KEY for names in joined.values())
    list(optimize(lake))
    assert {key: files(key) for key in joined} == joined
    append("grows", range(6, 9))
    list(optimize(lake))
    assert joined["grows"].isdisjoint(files("grows"))
    assert files("stands") == joined["stands"]
    assert len(lake.ids(Shard, "grows")) == lake.table(Shard, "grows").num_rows == 9 * per_commit


def test_one_optimization_of_a_lake_at_a_time(tmp_path: Path) -> None:
    """Two that join the same files would leave every row twice."""
    lake = Lake(tmp_path / "lake")
    rest = ("label", "stage", "k", "run", 1, "done", "", "", False, "worker", 1.0, 1.0, "2026")
    for i in range(6):
        lake.append(LedgerEntry, "k", [(f"{i}", LedgerEntry(f"{i}", *rest))])
    first = optimize(lake)
    next(first)
    with pytest.raises(UserError, match="optimized by another process"):
        next(optimize(lake))
    assert not list(first)
    list(optimize(lake))
    assert lake.table(LedgerEntry).num_rows == 6


def test_only_old_drafts_are_removed(tmp_path: Path) -> None:
    old, young, other = (tmp_path / "runs" / name for name in (".old.tmp", ".young.tmp", "run.json"))
    old.parent.mkdir()
    for path in (old, young, other):
        path.touch()
    os.utime(old, (0, 0))
    # A name that is there no more when it is looked at, as of a writer that has just finished.
    (old.parent / ".gone.tmp").symlink_to(tmp_path / "nothing")
    assert remove_drafts(tmp_path, 24) == 1
    assert not old.exists()
    assert young.exists()
    assert other.exists()
