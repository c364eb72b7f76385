"""How a training run tells of itself: a line every tenth of the steps in the log, or bars in a terminal."""

import json
import logging
import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harp.progress import ProgressBars

logger = logging.getLogger(__name__)

SHOWN = ("loss", "paired_distance", "accuracy", "action_l1")
"""Metrics worth a look while a run goes on."""

SECONDS_BETWEEN_LOOKS = 1.0
"""At what workers elsewhere log."""


@dataclass(frozen=True)
class Observers:
    """What training calls."""

    features: Callable[[int, int], None]
    """(samples whose frozen features are done, samples in all); in stage 3 demonstrations decoded, of all."""
    step: Callable[[int, int, dict[str, float]], None]
    """(steps done, steps in all, metrics of the last one)."""


def logged() -> Observers:
    """A log line every tenth of the way."""

    def features(done: int, total: int) -> None:
        if _is_tenth(done, total):
            logger.info("frozen features: %d of %d samples", done, total)

    def step(done: int, total: int, metrics: dict[str, float]) -> None:
        if _is_tenth(done, total):
            logger.info("step %d of %d: %s", done, total, describe(metrics))

    return Observers(features, step)


@contextmanager
def bars(prepared: str = "frozen features") -> Generator[Observers]:
    """Progress bars with the metrics of the last step beside them.

    Args:
        prepared: what the bar before training counts.
    """
    with ProgressBars() as show:
        yield Observers(
            features=lambda done, total: show(prepared, done, total),
            step=lambda done, total, metrics: show("training", done, total, describe(metrics)),
        )


@contextmanager
def followed(run: Path, steps: int, step: Callable[[int, int, dict[str, float]], None]) -> Generator[None]:
    """Tells of the steps that workers elsewhere log into a run's folder."""
    finished = threading.Event()

    def follow() -> None:
        log = GrowingLog(run / "metrics.jsonl")
        told = log.look()
        while not finished.wait(SECONDS_BETWEEN_LOOKS):
            rows = log.look()
            if rows > told:
                step(rows, steps, log.last)
            told = rows

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()


class GrowingLog:
    """Counts the rows of a log that others write; a look reads what was appended since the last one."""

    def __init__(self, path: Path) -> None:
        self.last: dict[str, float] = {}
        """The last whole row."""
        self._path = path
        self._inode, self._bytes, self._rows = -1, 0, 0

    def look(self) -> int:
        """Whole rows so far, of which a run that continues may have fewer than were there before."""
        if not self._path.is_file():
            return 0
        with self._path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_ino != self._inode or status.st_size < self._bytes:  # cut back: another file
                self._inode, self._bytes, self._rows = status.st_ino, 0, 0
            file.seek(self._bytes)
            *rows, _ = file.read().split(b"\n")  # what follows the last line break is still being written
        self._bytes += sum(len(row) + 1 for row in rows)
        self._rows += len(rows)
        if rows:
            self.last = json.loads(rows[-1])
        return self._rows


def describe(metrics: dict[str, float]) -> str:
    """`loss 0.41, prediction 0.21, …`."""
    return ", ".join(f"{name.replace('_', ' ')} {metrics[name]:.3g}" for name in SHOWN if name in metrics)


def _is_tenth(done: int, total: int) -> bool:
    return 10 * done // total > 10 * (done - 1) // total
