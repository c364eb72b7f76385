"""An item has one row, also where the end of a commit was not seen."""

from pathlib import Path
from typing import Any

import pytest

import pipelines.engine.lake as lake_module
from pipelines.engine.commits import CommitEvery
from pipelines.engine.executor import LocalExecutor
from pipelines.engine.insertion import Insertion
from pipelines.engine.lake import Lake
from pipelines.engine.runner import run_stage
from tests.pipelines.engine.toy import Power, PowerConfig, PowerStage, numbers, power_row

AT_ONCE = CommitEvery(rows=1, seconds=0.0)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def ids(lake: Lake) -> list[str]:
    """Of all rows; one that stands twice comes twice."""
    return sorted(lake.table(Power, columns=["item_id"]).column("item_id").to_pylist())


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("connection reset")], ids=repr)
def test_a_commit_that_stands_although_it_raised_is_not_repeated(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    write, commits = lake_module.write_deltalake, []

    def write_and_raise(delta: Any, *arguments: Any, **options: Any) -> None:
        write(delta, *arguments, **options)
        if delta.table_uri.rstrip("/").endswith(Power.TABLE):
            commits.append(delta.version())
            if len(commits) == 2:
                raise error

    monkeypatch.setattr(lake_module, "write_deltalake", write_and_raise)
    stage, items = PowerStage(PowerConfig()), numbers(*range(5))
    with pytest.raises((KeyboardInterrupt, OSError)):
        run_stage(stage, items, lake, LocalExecutor(), commit_every=AT_ONCE)
    assert ids(lake) == ["id00000", "id00001"]
    again = run_stage(stage, items, lake, LocalExecutor())
    assert (again.already_done, again.done) == (2, 3)
    assert ids(lake) == [f"id{value:05d}" for value in range(5)]


def test_rows_of_others_in_a_table_that_was_missing_are_known_before_the_first_commit(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [("a", power_row(1, 2))]
    late, first = Insertion(lake, Power, "k"), Insertion(lake, Power, "k")
    assert first.insert(rows) == set()
    with monkeypatch.context() as patch:
        patch.setattr(Insertion, "_catch_up", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            late.insert(rows)
    assert late.insert(rows) == {"a"}
    assert ids(lake) == ["a"]


def _interrupted(self: Insertion) -> None:
    raise KeyboardInterrupt
