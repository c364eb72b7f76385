"""Pictures of an evaluation: UMAP before and after, box plot of paired distances."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import umap
from matplotlib.axes import Axes
from matplotlib.figure import Figure

HIGHLIGHTED = 8
"""Pairs drawn in colour; the others are grey, for readability (paper A.4)."""
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c6d1f", "#6a3d9a")
"""Okabe and Ito's palette, which colour-blind readers can tell apart, and two more."""
GREY, INK = "#b8bec6", "#30363d"


def plot_umap(
    human: np.ndarray, robots: Mapping[str, np.ndarray], labels: list[str], path: Path, seed: int = 0
) -> None:
    """One panel per entry of `robots`, each a UMAP (cosine) of human features beside these robot features.

    Args:
        human: (N, D).
        robots: title → (N, D).
        labels: (N,) names of the pairs for the legend.
    """
    figure = Figure(figsize=(5.2 * len(robots), 5.0), dpi=150, layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(robots)))
    # Spread over the list, since neighbours in it may share a task.
    chosen = np.unique(np.linspace(0, len(human) - 1, min(HIGHLIGHTED, len(human))).astype(int)).tolist()
    for panel, (title, robot) in zip(panels, robots.items(), strict=True):
        points = project(np.concatenate((human, robot)), seed)
        _draw_pairs(panel, points[: len(human)], points[len(human) :], chosen, labels)
        panel.set_title(title, color=INK, fontsize=12)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    figure.savefig(path)


def project(features: np.ndarray, seed: int) -> np.ndarray:
    """(N, D) → (N, 2) by UMAP with cosine distance; the same seed gives the same points."""
    neighbours = max(2, min(15, len(features) - 1))
    # The spectral start needs more points than dimensions of its own.
    start = "spectral" if len(features) > 10 else "random"
    model = umap.UMAP(n_neighbors=neighbours, metric="cosine", random_state=seed, n_jobs=1, init=start)
    threads = torch.get_num_threads()
    try:
        return np.asarray(model.fit_transform(features.astype(np.float32)))
    finally:
        torch.set_num_threads(threads)  # numba, in UMAP, sets OpenMP's number for the whole process


def _draw_pairs(
    panel: Axes, human: np.ndarray, robot: np.ndarray, chosen: list[int], labels: list[str]
) -> None:
    others = [i for i in range(len(human)) if i not in chosen]
    for points, marker, name in ((human, "o", "human"), (robot, "^", "robot")):
        panel.scatter(*points[others].T, s=26, c=GREY, marker=marker, linewidths=0, alpha=0.8)
        panel.scatter([], [], s=40, c=INK, marker=marker, label=name)
    for i, colour in zip(chosen, COLOURS, strict=False):
        panel.plot(*np.stack((human[i], robot[i])).T, color=colour, lw=1, alpha=0.6, zorder=1)
        panel.scatter(*human[i], s=64, c=colour, marker="o", edgecolors="white", linewidths=0.8, zorder=3)
        panel.scatter(
            *robot[i],
            s=74,
            c=colour,
            marker="^",
            edgecolors="white",
            linewidths=0.8,
            zorder=3,
            label=labels[i],
        )
    panel.set_xticks([])
    panel.set_yticks([])
    panel.spines[:].set_color(GREY)


def plot_paired_distances(distances: Mapping[str, np.ndarray], path: Path) -> None:
    """Box plot of the cosine distance within pairs, one box per entry, every pair as a dot."""
    figure = Figure(figsize=(1.6 + 1.5 * len(distances), 4.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    positions = np.arange(len(distances))
    boxes = axes.boxplot(
        list(distances.values()), positions=positions, widths=0.5, patch_artist=True, showfliers=False
    )
    rng = np.random.default_rng(0)
    for position, values, box, colour in zip(
        positions, distances.values(), boxes["boxes"], COLOURS, strict=False
    ):
        box.set(facecolor=f"{colour}33", edgecolor=colour)
        spread = rng.uniform(-0.13, 0.13, len(values))
        axes.scatter(position + spread, values, s=12, color=colour, alpha=0.7, linewidths=0, zorder=3)
    for line in boxes["medians"]:
        line.set(color=INK, lw=1.6)
    axes.set_xticks(positions, list(distances), fontsize=9)
    axes.set_ylabel("cosine distance within a pair", color=INK)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color="#e6e8eb", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
