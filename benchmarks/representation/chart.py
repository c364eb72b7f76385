"""Bar chart of all rows: average R@1 with intervals on both sets, the paper's figures as marks."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.representation.summary import PAPER, RowSummary

COLOURS = ("#2563a8", "#9dbfe3")
INK, GREY, PAPER_MARK = "#1c2430", "#e4e8ee", "#d9622b"


def draw(sets: dict[str, dict[str, RowSummary]], path: Path) -> None:
    """One group of bars per row, one bar per set.

    Args:
        sets: label of the set → its rows; all sets have the same rows.
    """
    names = list(next(iter(sets.values())))
    figure = Figure(figsize=(8.6, 0.9 + 0.42 * len(names)), dpi=150, layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(names))
    height = 0.8 / len(sets)
    for number, ((label, rows), colour) in enumerate(zip(sets.items(), COLOURS, strict=False)):
        means = np.array([rows[name].interval.mean for name in names])
        limits = np.array([(rows[name].interval.low, rows[name].interval.high) for name in names]).T
        offset = (number - (len(sets) - 1) / 2) * height
        axes.barh(places + offset, means, height * 0.92, color=colour, label=label)
        errors = np.abs(limits - means)
        axes.errorbar(means, places + offset, xerr=errors, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
        for place, mean, upper in zip(places, means, limits[1], strict=True):
            axes.text(max(mean, upper) + 1, place + offset, f"{mean:.1f}", va="center", fontsize=7, color=INK)
    marked = [(PAPER[name].recall_at_1, place) for place, name in enumerate(names) if name in PAPER]
    if marked:
        x, y = np.array(marked).T
        axes.scatter(
            x, y, marker="D", s=34, color=PAPER_MARK, edgecolors="white", zorder=5, label="paper (RH20T)"
        )
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlim(0, 108)
    axes.set_xlabel("average R@1, percent; 95 % bootstrap interval over pairs")
    axes.grid(axis="x", color=GREY)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=len(sets) + 1, frameon=False, fontsize=9)
    figure.savefig(path)
