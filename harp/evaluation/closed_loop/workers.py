"""The same work for many items, in this process or spread over several.

An environment and a model live as long as their process, so `make` is called once in each. Processes are spawned, as
neither OpenGL contexts nor torch's threads survive a fork.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any, TypeVar

from data_schemas.worker_process import begin_worker_process

Item = TypeVar("Item")
Result = TypeVar("Result")

_work: list[Callable[[Any], Any]] = []
"""What this worker process does, once it has been made."""


def worked(
    make: Callable[[], Callable[[Item], Result]], items: Sequence[Item], workers: int = 1
) -> Iterator[Result]:
    """Results in the order in which they are finished.

    Args:
        make: returns what is done with an item; with several workers it, the items and the results must be picklable.

    Raises:
        Exception: what the work raised; items that were not begun are given up then.
    """
    if not items:
        return
    if workers == 1 or len(items) == 1:
        work = make()
        for item in items:
            yield work(item)
        return
    with ProcessPoolExecutor(min(workers, len(items)), get_context("spawn"), begin_worker_process) as pool:
        futures = [pool.submit(_do, make, item) for item in items]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _do(make: Callable[[], Callable[[Any], Any]], item: Any) -> Any:
    if not _work:
        _work.append(make())
    return _work[0](item)
