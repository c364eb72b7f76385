"""Items that are evaluated once: a line for every finished one, so that a kill loses only those in flight.

Calling again does what is missing, be it after a kill or because more items are asked for. Trials on the table and
CALVIN's chains are kept this way.
"""

import logging
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from filelock import FileLock, Timeout
from pydantic import TypeAdapter

from harp.evaluation.closed_loop.workers import worked

logger = logging.getLogger(__name__)


class Keyed(Protocol):
    """A dataclass of JSON's types, which knows the item it belongs to."""

    @property
    def key(self) -> Hashable: ...


Item = TypeVar("Item")
Result = TypeVar("Result", bound=Keyed)


class ResultLog(Generic[Result]):
    """JSON lines of results, flushed one by one.

    Args:
        kind: class of the results.
    """

    def __init__(self, path: Path, kind: type[Result]) -> None:
        self._path = path
        self._lines: TypeAdapter[Result] = TypeAdapter(kind)
        self.results: dict[Hashable, Result] = {}
        if path.is_file():
            content = path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            with path.open("rb+") as file:
                file.truncate(len(whole))  # a line that was cut off is an item to do again
            results = (self._lines.validate_json(line) for line in whole.splitlines())
            self.results = {result.key: result for result in results}

    def append(self, result: Result) -> None:
        """Keep a result."""
        with self._path.open("ab") as file:
            file.write(self._lines.dump_json(result) + b"\n")
        self.results[result.key] = result


def finished(
    path: Path,
    kind: type[Result],
    make: Callable[[], Callable[[Item], Result]],
    wanted: Mapping[Any, Item],
    workers: int = 1,
    report: Callable[[Sequence[Result]], None] = lambda results: None,
) -> tuple[Result, ...]:
    """Results of all wanted items in their order, those of the log and those that are done now.

    Args:
        path: of the log. One process at a time works on it; another waits and then finds its work done.
        make: as `worked` takes it.
        wanted: key of its result → item.
        report: called with all results so far, before the first item and after each.
    """
    with _locked(path.with_suffix(".lock")):
        log = ResultLog(path, kind)
        missing = [item for key, item in wanted.items() if key not in log.results]

        def so_far() -> tuple[Result, ...]:
            return tuple(log.results[key] for key in wanted if key in log.results)

        report(so_far())
        for result in worked(make, missing, workers):
            log.append(result)
            report(so_far())
        return so_far()


@contextmanager
def _locked(path: Path) -> Generator[None]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("Another process evaluates in %s; waiting until it ends", path.parent)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
