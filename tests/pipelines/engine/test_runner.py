"""Planning, outcomes, retries and the ledger, on the local executor."""

import time
from pathlib import Path

import pytest

from data_schemas.errors import UserError
from data_schemas.ledger import LedgerEntry
from pipelines.engine import ledger
from pipelines.engine.commits import CommitEvery
from pipelines.engine.executor import Items, Limits
from pipelines.engine.executors import LocalExecutor
from pipelines.engine.lake import Lake
from pipelines.engine.runner import run_stage
from pipelines.engine.stage import Stage
from pipelines.engine.summary import StageFailed
from pipelines.engine.work import Work
from tests.pipelines.engine.toy import Power, PowerConfig, PowerStage, numbers


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def run(lake: Lake, config: PowerConfig, values: range, batch_size: int = 1, **options):
    return run_stage(PowerStage(config, batch_size), numbers(*values), lake, LocalExecutor(), **options)


def test_a_second_run_does_nothing(lake: Lake) -> None:
    first = run(lake, PowerConfig(), range(10))
    assert (first.total, first.processed, first.done, first.already_done) == (10, 10, 10, 0)
    commits = len(list(Path(lake.root).rglob("_delta_log/*.json")))
    second = run(lake, PowerConfig(), range(10))
    assert (second.total, second.processed, second.done, second.already_done) == (10, 0, 0, 10)
    assert "nothing to do" in str(second)
    assert len(list(Path(lake.root).rglob("_delta_log/*.json"))) == commits


def test_only_new_items_and_changed_configurations_are_processed(lake: Lake) -> None:
    run(lake, PowerConfig(), range(10))
    grown = run(lake, PowerConfig(), range(12))
    assert (grown.processed, grown.already_done) == (2, 10)
    cubed = run(lake, PowerConfig(exponent=3), range(12))
    assert cubed.processed == 12
    assert {r.power for r in lake.read(Power, cubed.key).values()} == {v**3 for v in range(12)}
    assert {r.power for r in lake.read(Power, grown.key).values()} == {v**2 for v in range(12)}
    assert run(lake, PowerConfig(), range(12), upstream=["other"]).processed == 12


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_a_bad_item_takes_no_other_down(lake: Lake, batch_size: int) -> None:
    config = PowerConfig(fail_every=5, raise_every=7, filter_every=3)
    summary = run(lake, config, range(1, 21), batch_size)
    values = set(range(1, 21))
    broken, raising = {v for v in values if v % 5 == 0}, {7, 14}
    filtered = {v for v in values if v % 3 == 0} - broken
    assert {r.value for r in lake.read(Power, summary.key).values()} == values - broken - raising - filtered
    assert summary.failed == {"odd_one_out": len(broken), "exception": len(raising)}
    assert summary.filtered == {"too_round": len(filtered)}
    assert summary.total == summary.done + sum(summary.failed.values()) + sum(summary.filtered.values())
    by_label = {entry.label: entry for entry in summary.failures}
    assert by_label["number 5"].detail == "5 is a multiple of 5"
    assert "cannot do 7" in by_label["number 7"].detail


def test_only_what_may_succeed_is_tried_again(lake: Lake) -> None:
    config = PowerConfig(fail_every=5, raise_every=7, filter_every=3)
    run(lake, config, range(1, 21))
    again = run(lake, config, range(1, 21))
    assert again.processed == 2
    assert again.failed == {"odd_one_out": 4, "exception": 2}
    assert {e.label: e.attempt for e in again.failures}["number 7"] == 2
    assert {e.label: e.attempt for e in again.failures}["number 5"] == 1


def test_an_id_that_comes_twice_is_processed_once(lake: Lake) -> None:
    items = numbers(1, 2, 2, 1, 3)
    summary = run_stage(PowerStage(PowerConfig()), items, lake, LocalExecutor())
    assert (summary.total, summary.done) == (3, 3)
    assert lake.table(Power).num_rows == 3


def test_too_many_failures_end_the_run_after_the_commit(lake: Lake) -> None:
    config = PowerConfig(fail_every=2)
    with pytest.raises(
        StageFailed, match=r"power failed on 5 of 10 items \(odd_one_out 5\).*number 0"
    ) as caught:
        run(lake, config, range(10), max_failed_fraction=0.4)
    assert "\n" not in str(caught.value)
    assert lake.ids(Power, caught.value.summary.key) == {f"id{v:05d}" for v in range(1, 10, 2)}
    with pytest.raises(StageFailed):
        run(lake, config, range(10), max_failed_fraction=0.4)
    assert run(lake, config, range(10), max_failed_fraction=0.5).processed == 0


def test_what_setup_raises_blames_no_item(lake: Lake) -> None:
    with pytest.raises(UserError, match="no weights here"):
        run(lake, PowerConfig(bad_setup=True), range(3))
    assert lake.table(LedgerEntry).num_rows == 0


def test_rows_whose_ledger_entry_was_lost_are_recorded(lake: Lake) -> None:
    stage = PowerStage(PowerConfig())
    summary = run_stage(stage, numbers(1, 2), lake, LocalExecutor())
    reference = lake.read(Power, summary.key)
    other = Lake(lake.root + "-other")
    other.append(Power, summary.key, [("id00001", reference["id00001"])])
    again = run_stage(stage, numbers(1, 2), other, LocalExecutor())
    assert (again.already_done, again.done) == (1, 1)
    assert set(ledger.done_ids(other, summary.key).to_pylist()) == {"id00001", "id00002"}


def test_commits_are_few_for_quick_stages_and_bounded_in_time_for_slow_ones() -> None:
    every = CommitEvery(rows=64, seconds=2.0, max_seconds=10.0)
    assert not every.is_due(5000, 1.9)
    assert every.is_due(64, 2.0)
    assert not every.is_due(63, 9.9)
    assert every.is_due(1, 10.0)
    assert not every.is_due(0, 100.0)


def test_micro_batches_are_committed_on_the_way(lake: Lake) -> None:
    seen: list[tuple[int, int, int]] = []
    stage = PowerStage(PowerConfig())
    key = stage.key([])

    def progress(finished: int, total: int) -> None:
        seen.append((finished, total, len(lake.ids(Power, key))))

    options = {"progress": progress, "commit_every": CommitEvery(rows=2, seconds=0.0)}
    run(lake, PowerConfig(), range(5), **options)
    assert seen == [(0, 5, 0), (1, 5, 0), (2, 5, 2), (3, 5, 2), (4, 5, 4), (5, 5, 4)]


class OneThenAWait(LocalExecutor):
    """Ends with what a consumer sees while the last item takes long."""

    def __init__(self, looks: list[int], lake: Lake) -> None:
        self._looks, self._lake = looks, lake

    def run(self, stage: Stage, items: Items, limits: Limits | None = None):
        yield from super().run(stage, items, limits)
        for _ in range(3):
            time.sleep(0.2)
            yield None
            self._looks.append(len(self._lake.ids(Power, stage.key([]))))


def test_finished_work_is_committed_while_the_next_item_takes_long(lake: Lake) -> None:
    rows: list[int] = []
    every = CommitEvery(max_seconds=0.5)
    run_stage(PowerStage(PowerConfig()), numbers(1), lake, OneThenAWait(rows, lake), commit_every=every)
    assert rows[-1] == 1
    assert len(list(Path(lake.root).rglob("powers/_delta_log/*.json"))) == 2, "the table, and its only row"


def test_a_tally_counts_the_latest_attempts(lake: Lake) -> None:
    config = PowerConfig(fail_every=5, raise_every=7, filter_every=3)
    squared = run(lake, config, range(1, 21))
    run(lake, config, range(1, 21))
    cubed = run(lake, PowerConfig(exponent=3), range(4))
    cubes = ledger.tally(lake, cubed.key)
    assert (cubes.done, cubes.attempts, cubes.failed) == (4, 4, {})
    tally = ledger.tally(lake, squared.key)
    assert (tally.done, tally.filtered, tally.attempts) == (9, {"too_round": 5}, 22)
    assert tally.failed == {"odd_one_out": 4, "exception": 2}
    assert tally.to_retry == 2


def test_the_exception_is_kept_with_its_traceback(lake: Lake) -> None:
    summary = run(lake, PowerConfig(raise_every=7, fail_every=5), range(1, 8))
    by_label = {entry.label: entry for entry in summary.failures}
    seven, five = by_label["number 7"], by_label["number 5"]
    assert (seven.exception, seven.detail) == ("ValueError", "ValueError: cannot do 7")
    assert 'raise ValueError(f"cannot do {value}")' in seven.traceback
    assert (five.exception, five.detail) == ("BadInput", "5 is a multiple of 5")


def quarantined(lake: Lake, key: str) -> list[LedgerEntry]:
    entries = ledger.unsolved(lake, key).values()
    return sorted((entry for entry in entries if entry.in_quarantine), key=lambda e: e.label)


def test_quarantine_and_another_chance(lake: Lake) -> None:
    config = PowerConfig(fail_every=5, raise_every=7)
    summary = run(lake, config, range(1, 11))
    held = quarantined(lake, summary.key)
    assert [entry.label for entry in held] == ["number 10", "number 5"]
    ledger.requeue(lake, held[1:])
    assert [entry.label for entry in quarantined(lake, summary.key)] == ["number 10"]
    again = run(lake, config, range(1, 11))
    assert again.processed == 2  # number 5, and number 7 whose exception may have been a passing trouble
    assert [entry.label for entry in quarantined(lake, summary.key)] == ["number 10", "number 5"]
    history = [(e.outcome, e.attempt) for e in ledger.attempts_at(lake, "id00005")]
    assert history == [("failed", 1), ("requeued", 1), ("failed", 2)]


def test_what_raises_in_three_runs_is_in_quarantine(lake: Lake) -> None:
    config, options = PowerConfig(raise_every=7, fail_every=5), {"max_exceptions": 3}

    def night(**more) -> list[str]:
        key = run(lake, config, range(1, 8), **options, **more).key
        return [entry.label for entry in quarantined(lake, key)]

    assert night(run_id="first") == ["number 5"]
    # A repeated task is the same run, whatever made it fail before.
    assert [night(run_id="second") for _ in range(3)] == [["number 5"]] * 3
    assert night() == ["number 5", "number 7"]
    again = run(lake, config, range(1, 8), **options)
    assert again.processed == 0
    assert again.failed == {"odd_one_out": 1, "exception": 1}
    (seven,) = [entry for entry in again.failures if entry.label == "number 7"]
    ledger.requeue(lake, [seven])
    assert [entry.label for entry in quarantined(lake, again.key)] == ["number 5"]
    assert night() == ["number 5", "number 7"], "one more chance, as for every other reason"
    history = [(e.outcome, e.retryable) for e in ledger.attempts_at(lake, "id00007")]
    tried = [("failed", True)] * 4
    assert history == [*tried, ("failed", False), ("requeued", True), ("failed", False)]


def test_what_the_system_refuses_is_tried_as_long_as_it_does(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def unplugged(stage: PowerStage, value: int) -> None:
            raise ConnectionResetError("the storage was unplugged")

        patch.setattr(PowerStage, "_one", unplugged)
        for _ in range(4):
            assert run(lake, PowerConfig(), range(2), max_exceptions=3).failed == {"system_error": 2}
    assert run(lake, PowerConfig(), range(2), max_exceptions=3).done == 2


def test_a_requeue_counts_where_the_operators_clock_is_behind(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PowerConfig(fail_every=5)
    summary = run(lake, config, range(4, 6))
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "now", lambda: "2001-01-01T00:00:00.000000+00:00")
        ledger.requeue(lake, quarantined(lake, summary.key))
    assert quarantined(lake, summary.key) == []
    again = run(lake, config, range(4, 6))
    assert (again.processed, again.failed) == (1, {"odd_one_out": 1})
    assert [entry.attempt for entry in quarantined(lake, summary.key)] == [2], "decides, as the latest"
    assert run(lake, config, range(4, 6)).processed == 0


def test_payloads_are_loaded_for_what_is_left_only(lake: Lake) -> None:
    run(lake, PowerConfig(), range(6))
    asked: list[str] = []

    def load(ids):
        asked.extend(ids)
        return {i: int(i[2:]) for i in ids}

    work = Work({f"id{v:05d}": f"number {v}" for v in range(10)}, load)
    summary = run_stage(PowerStage(PowerConfig()), work, lake, LocalExecutor())
    assert asked == [f"id{v:05d}" for v in range(6, 10)]
    assert (summary.total, summary.already_done, summary.done) == (10, 6, 4)


def test_payloads_are_loaded_as_many_at_a_time_as_the_work_says(lake: Lake) -> None:
    asked: list[int] = []

    def load(ids):
        asked.append(len(ids))
        return {i: int(i[2:]) for i in ids}

    work = Work({f"id{v:05d}": f"number {v}" for v in range(10)}, load, chunk=4)
    assert run_stage(PowerStage(PowerConfig()), work, lake, LocalExecutor()).done == 10
    assert asked == [4, 4, 2]
