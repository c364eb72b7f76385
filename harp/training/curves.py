"""Training curves as a picture: a panel per metric, a line per run.

The line is the running mean over a twentieth of the run; single steps lie pale behind it. TensorBoard shows the same
numbers while a run is on; this is what one puts beside a result.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from data_schemas.errors import UserError
from harp.training.metrics import read_metrics

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's palette."""
FORMATS = (".png", ".svg", ".pdf")
COLUMNS = 4
FIRST = ("loss", "alignment", "prediction", "accuracy")
LAST = ("learning_rate_factor", "seconds")
INK, GRID = "#30363d", "#e6e8eb"


def draw_curves(runs: Mapping[str, Path], path: Path) -> None:
    """Draw every metric of some runs, finished or not.

    Args:
        runs: name in the legend → folder of the run.
        path: PNG, SVG or PDF; its folder is made.

    Raises:
        UserError: a folder without a metrics file, or a picture of another format.
    """
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path} names no picture: give a file that ends in {', '.join(FORMATS)}.")
    rows = {name: read_metrics(folder) for name, folder in runs.items()}
    for name, folder in runs.items():
        if not rows[name]:
            raise UserError(f"{folder} has no training metrics: metrics.jsonl is missing or empty.")
    metrics = _in_order(set().union(*(row.keys() for run in rows.values() for row in run)) - {"step"})
    columns = min(COLUMNS, len(metrics))
    lines = math.ceil(len(metrics) / columns)
    width, height = 3.2 * columns, 2.1 * lines + 0.5
    figure = Figure(figsize=(width, height), dpi=130)
    # Margins by hand: a layout that is solved for would cost more than the drawing.
    margins = {
        "left": 0.55 / width,
        "right": 1 - 0.1 / width,
        "bottom": 0.65 / height,
        "top": 1 - 0.3 / height,
    }
    figure.subplots_adjust(**margins, wspace=0.28, hspace=0.42)
    panels = np.atleast_1d(figure.subplots(lines, columns)).flat
    for metric, panel in zip(metrics, panels, strict=False):
        for (name, run), colour in zip(rows.items(), _repeated(COLOURS, len(rows)), strict=True):
            points = [(row["step"], row[metric]) for row in run if metric in row]
            if points:
                _draw_line(panel, np.array(points), name, colour)
        _style(panel, metric)
    for panel in panels:
        panel.axis("off")
    if len(rows) > 1:
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="lower center", ncols=4, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def draw_run(run: Path) -> Path:
    """Draw the curves of a run into its own folder, as `curves.png`."""
    path = run / "curves.png"
    draw_curves({run.name: run}, path)
    return path


def _in_order(metrics: set[str]) -> list[str]:
    """Losses first, bookkeeping last."""
    groups = [FIRST, sorted(metrics - {*FIRST, *LAST}), LAST]
    return [name for group in groups for name in group if name in metrics]


def _draw_line(panel: Axes, points: np.ndarray, name: str, colour: str) -> None:
    steps, values = points.T
    panel.plot(steps, values, color=colour, lw=0.7, alpha=0.25)
    panel.plot(steps, running_mean(values, max(1, len(values) // 20)), color=colour, lw=1.6, label=name)


def running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """(n,) → (n,): mean of each value with up to `width` − 1 before it."""
    sums = np.concatenate(([0.0], np.cumsum(values)))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - width, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


def _style(panel: Axes, metric: str) -> None:
    panel.set_title(metric.replace("_", " "), fontsize=9, color=INK)
    panel.tick_params(labelsize=7, colors=INK)
    panel.grid(color=GRID, lw=0.6)
    panel.spines[["top", "right"]].set_visible(False)
    panel.margins(x=0.01)


def _repeated(colours: Sequence[str], number: int) -> list[str]:
    return [colours[i % len(colours)] for i in range(number)]
