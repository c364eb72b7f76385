"""Progress in the terminal: one bar per kind of work, the same for command lines and flows."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column


class ProgressBars:
    """Context manager whose calls `bars(name, finished, total)` draw and move bars on standard error."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<16}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
        )
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, name: str, finished: int, total: int, note: str = "") -> None:
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(name.replace("_", " "), total=total, note=note)
        self._progress.update(self._bars[name], completed=finished, total=total, note=note)
