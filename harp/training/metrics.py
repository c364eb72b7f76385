"""Metrics of a run: `metrics.jsonl`, one line per step, and TensorBoard events of the same numbers."""

import json
from dataclasses import dataclass
from pathlib import Path

from torch.utils.tensorboard.writer import SummaryWriter

from data_schemas.whole_files import replacing


class MetricsLog:
    """Continues at `first_step`: what a killed run logged beyond its last checkpoint is dropped."""

    def __init__(self, folder: Path, first_step: int) -> None:
        self._path = folder / "metrics.jsonl"
        kept = [row for row in read_metrics(folder) if row["step"] < first_step]
        with replacing(self._path) as draft:  # a kill while it is cut back loses no row
            draft.write_text("".join(json.dumps(row) + "\n" for row in kept))
        self._file = self._path.open("a")
        self._board = SummaryWriter(folder / "tensorboard", purge_step=first_step)

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Log one step."""
        self._file.write(json.dumps({"step": step, **metrics}) + "\n")
        self._file.flush()
        for name, value in metrics.items():
            self._board.add_scalar(f"train/{name}", value, step)

    def close(self) -> None:
        """Flush everything."""
        self._file.close()
        self._board.close()


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Rows of a run's `metrics.jsonl`; a last line that a kill cut off is left out."""
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


@dataclass(frozen=True)
class RunSummary:
    """A finished run in numbers."""

    steps: int
    seconds_per_step: float
    """Median."""
    final: dict[str, float]
    """Metrics, averaged over the last tenth of the steps."""


def summarize_metrics(folder: Path) -> RunSummary:
    """Of the run in a folder."""
    rows = read_metrics(folder)
    last = rows[-max(1, len(rows) // 10) :]
    names = sorted(set.intersection(*(set(row) for row in last)) - {"step", "seconds"})
    return RunSummary(
        steps=len(rows),
        seconds_per_step=sorted(row["seconds"] for row in rows)[len(rows) // 2],
        final={name: sum(row[name] for row in last) / len(last) for name in names},
    )
