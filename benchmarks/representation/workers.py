"""Several jobs at once, each in a process of its own with one thread, and their progress in this terminal.

One thread each, since two runs of one thread finish sooner than one run of two: small models do not share work well.
"""

import logging
import multiprocessing
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from data_schemas.worker_process import begin_worker_process, one_thread_for_spawned

Result = TypeVar("Result")
Report = Callable[[str, int, int, str], None]
"""Called by a job with (what it does, done, total, note)."""

_reports: Any = None


def run_jobs(job: Callable[..., Result], arguments: Mapping[str, tuple], processes: int) -> dict[str, Result]:
    """Call `job(*arguments[name], report)` for every name, `processes` at a time.

    Raises:
        Exception: what a job raised, after the others that had begun are finished; none is begun after that.
    """
    context = multiprocessing.get_context("spawn")
    reports = context.Queue()
    results: dict[str, Result] = {}
    # A job's module may load torch before the process begins its work.
    with one_thread_for_spawned(), _progress() as progress:
        everything = progress.add_task("all jobs", total=len(arguments), note="")
        drawing = threading.Thread(target=_draw, args=(reports, progress), daemon=True)
        drawing.start()
        with ProcessPoolExecutor(processes, context, _start_worker, (reports,)) as pool:
            futures = {pool.submit(_run, job, name, *given): name for name, given in arguments.items()}
            try:
                for future in as_completed(futures):
                    name = futures[future]
                    results[name] = future.result()
                    progress.advance(everything)
                    # Stays in a log file, where bars do not show until the end.
                    progress.console.print(f"{name}: done ({len(results)} of {len(futures)})")
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        reports.put(None)
        drawing.join()
    return {name: results[name] for name in arguments}


def _start_worker(reports: Any) -> None:
    global _reports  # noqa: PLW0603  # a queue reaches a worker by inheritance only
    _reports = reports
    logging.basicConfig(level=logging.WARNING)
    begin_worker_process()


def _run(job: Callable[..., Result], name: str, *arguments: Any) -> Result:
    def report(what: str, done: int, total: int, note: str = "") -> None:
        _reports.put((name, f"{what} {note}", done, total))

    try:
        return job(*arguments, report)
    finally:
        _reports.put((name, "", 1, 0))


def _progress() -> Progress:
    columns = (TextColumn("{task.description:<24}"), BarColumn(bar_width=24), MofNCompleteColumn())
    return Progress(
        *columns, TimeElapsedColumn(), TextColumn("{task.fields[note]}"), console=Console(stderr=True)
    )


def _draw(reports: Any, progress: Progress) -> None:
    """One bar per job that runs; a total of 0 says that it has ended."""
    bars: dict[str, TaskID] = {}
    while (update := reports.get()) is not None:
        name, note, done, total = update
        if not total:
            if name in bars:
                progress.remove_task(bars.pop(name))
            continue
        if name not in bars:
            bars[name] = progress.add_task(name, total=total, note=note)
        progress.update(bars[name], completed=done, total=total, note=note)
