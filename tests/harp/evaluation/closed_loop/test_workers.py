"""Work is made once a process, every item is done once, and a failure is the caller's to see."""

import os
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from harp.evaluation.closed_loop.workers import worked


def make(diary: Path) -> Callable[[int], int]:
    with diary.open("a") as file:
        file.write(f"{os.getpid()}\n")

    def square(item: int) -> int:
        if item < 0:
            raise ValueError(f"{item} is negative")
        return item**2

    return square


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_is_done_once_by_work_that_is_made_once_a_process(tmp_path: Path, workers: int) -> None:
    diary = tmp_path / "diary"
    results = list(worked(partial(make, diary), range(40), workers))
    assert Counter(results) == Counter(i**2 for i in range(40))
    processes = diary.read_text().split()
    assert len(processes) == len(set(processes)) <= workers
    assert (str(os.getpid()) in processes) == (workers == 1)


def test_nothing_to_do_makes_nothing(tmp_path: Path) -> None:
    assert list(worked(partial(make, tmp_path / "diary"), [], 2)) == []
    assert not (tmp_path / "diary").exists()


def test_a_failure_comes_out_after_the_results_before_it(tmp_path: Path) -> None:
    results = worked(partial(make, tmp_path / "diary"), [3, -1, 4])
    assert next(results) == 9
    with pytest.raises(ValueError, match="-1 is negative"):
        next(results)
