"""A run whose steps are taken elsewhere is followed through its log, of which nothing is read twice."""

import time
from contextlib import closing

from harp.training import progress
from harp.training.metrics import MetricsLog
from harp.training.progress import GrowingLog, followed


def test_rows_that_were_read_are_not_read_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = GrowingLog(path)
    assert log.look() == 0
    first = b'{"step": 0}\n{"step": 1}\n'
    path.write_bytes(first + b'{"st')
    assert (log.look(), log.last) == (2, {"step": 1})
    path.write_bytes(b"." * len(first) + b'{"step": 2}\n')
    assert (log.look(), log.last) == (3, {"step": 2})


def test_a_run_that_continues_is_told_of_from_where_its_log_was_cut_back(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LOOKS", 0.01)
    with closing(MetricsLog(tmp_path, 0)) as log:
        for step in range(3):
            log.write(step, {"loss": float(step)})
    told: list[tuple[int, int, float]] = []

    def wait_for(number: int) -> None:
        until = time.monotonic() + 30
        while len(told) < number and time.monotonic() < until:
            time.sleep(0.01)

    with (
        followed(tmp_path, 9, lambda done, total, metrics: told.append((done, total, metrics["loss"]))),
        closing(MetricsLog(tmp_path, 1)) as log,
    ):
        time.sleep(0.2)  # the shorter log is seen
        for step in (1, 2):
            log.write(step, {"loss": 10.0 * step})
            wait_for(step)
    assert told == [(2, 9, 10.0), (3, 9, 20.0)]
