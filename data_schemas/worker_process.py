"""What every process that is spawned for a share of the work begins with."""

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from multiprocessing import parent_process
from multiprocessing.connection import wait

THREADS = ("OMP_NUM_THREADS", "LP_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Variables by which torch, Mesa's renderer and numba choose their number of threads, when they are loaded."""


@contextmanager
def one_thread_for_spawned() -> Generator[None]:
    """Processes that are spawned meanwhile have the variables from their first import on.

    Afterwards they are as before: numba refuses to work on where its number changes under it.
    """
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ |= dict.fromkeys(THREADS, "1")
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def begin_worker_process() -> None:
    """One thread for each library, as the processes share the cores; and an end when the parent was killed.

    Nobody would take what is made after that, and the next run may write to the same folders.
    """
    os.environ |= dict.fromkeys(THREADS, "1")
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None, "the first process of a program has no parent to watch"
    wait([parent.sentinel])
    os._exit(1)
