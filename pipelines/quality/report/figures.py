"""The report's plots, as SVG text: they stay sharp and small inside the page."""

import io
import re
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from data_schemas.pairs import Alignment
from pipelines.inputs import Annotated
from pipelines.quality.report.palette import GRID, HUMAN, INK, MUTED, OBJECT, ROBOT
from pipelines.quality.report.style import use_report_style


def alignment_plot(alignment: Alignment, human: Annotated, robot: Annotated) -> str:
    """DTW path, and the cue's height for both sides on the robot's time line after the alignment.

    The height is that in the image; where the camera moves, that in the first frame's picture of the scene, as aligned.
    """
    use_report_style()
    figure = Figure(figsize=(11.3, 2.0))
    left, right = figure.subplots(1, 2, width_ratios=[1, 3.6])
    path = alignment.path
    left.plot([0, path[:, 0].max()], [0, path[:, 1].max()], color=MUTED, lw=0.8, ls=(0, (3, 3)))
    left.plot(path[:, 0], path[:, 1], color=INK, lw=1.6)
    left.set(xlabel="robot frame", ylabel="human frame", title="DTW path")
    aligned = _cue_height(alignment.cue, robot), _cue_height(alignment.cue, human)[alignment.human_index]
    both = np.isfinite(aligned[0]) & np.isfinite(aligned[1])
    if not both.any():
        right.set_visible(False)
        return _svg(figure)
    for height, colour, name in zip(aligned, (ROBOT, HUMAN), ("robot", "human, aligned"), strict=True):
        # Cameras differ: both are scaled by what they do where both are seen.
        seen = height[both]
        right.plot((height - seen.mean()) / max(float(seen.std()), 1e-6), color=colour, lw=1.5, label=name)
    right.legend(loc="lower left", bbox_to_anchor=(0.3, 1.0), ncols=2, handlelength=1.2, borderpad=0)
    title = {"wrist": "wrist / end effector", "object": "object"}[alignment.cue]
    right.set(xlabel="robot frame", ylabel="height in image", title=title, yticks=[])
    return _svg(figure)


def cost_histogram(
    title: str, accepted: Sequence[float], rejected: Sequence[float], limit: float | None
) -> str:
    """Alignment cost of the pairs, with the verdict's limit. Costs of tracks and of features do not compare."""
    use_report_style()
    figure = Figure(figsize=(3.8, 2.3))
    axes = figure.subplots()
    values = np.asarray([*accepted, *rejected, limit or 0.0])
    bins = np.linspace(0, max(float(values.max()), 1e-3) * 1.05, 22).tolist()
    axes.hist(
        [accepted, rejected],
        bins=bins,
        stacked=True,
        color=[OBJECT, "#c9ced6"],
        label=["accepted", "rejected"],
    )
    if limit is not None:
        axes.axvline(limit, ymax=0.8, color=INK, lw=1, ls=(0, (3, 3)))  # below the legend
        axes.annotate(
            "limit",
            (limit, 0.5),
            xycoords=("data", "axes fraction"),
            xytext=(3, 0),
            textcoords="offset points",
        )
    axes.set(title=title, xlabel="mean distance along the path", ylabel="pairs")
    axes.margins(y=0.35)
    axes.legend(loc="upper right", ncols=2)
    return _svg(figure)


def share_histogram(title: str, shares: Mapping[str, Sequence[float]]) -> str:
    """Share of frames per clip in which a cue is visible, by embodiment."""
    use_report_style()
    figure = Figure(figsize=(3.8, 2.3))
    axes = figure.subplots()
    names = [name for name in shares if len(shares[name])]
    colours = {"human": HUMAN, "robot": ROBOT}
    if names:
        axes.hist(
            [np.asarray(shares[n]) for n in names],
            bins=np.linspace(0, 1, 21).tolist(),
            color=[colours[n] for n in names],
            label=names,
        )
        axes.legend(loc="upper left")
    axes.set(title=title, xlabel="share of frames", ylabel="clips", xlim=(0, 1))
    return _svg(figure)


def training_curves(steps: Sequence[int], curves: Mapping[str, Sequence[float]], columns: int = 4) -> str:
    """One small panel per logged quantity: raw values faint, running mean strong."""
    use_report_style()
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(2.6 * columns, 1.85 * rows), layout="constrained")
    panels = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    for panel, (name, values) in zip(panels, curves.items(), strict=False):
        series = np.asarray(values, float)
        panel.plot(steps, series, color=GRID, lw=1)
        panel.plot(steps, _running_mean(series, max(1, len(series) // 20)), color=ROBOT, lw=1.6)
        panel.set_title(name.replace("_", " "))
        panel.tick_params(labelsize=8)
    for panel in panels[len(curves) :]:
        panel.set_visible(False)
    return _svg(figure)


def _cue_height(cue: str, clip: Annotated) -> np.ndarray:
    """(T,) upwards, NaN where not visible or the camera is lost; all NaN where the cue is no point in the image."""
    known = True if clip.camera is None else clip.camera.known
    if cue == "wrist" and clip.wrist is not None:
        points = clip.against_scene(clip.wrist.points)
        return -np.where(clip.wrist.visible & known, points[:, 1], np.nan)
    if cue == "object" and clip.objects is not None:
        seen = clip.objects.visible & np.reshape(known, (-1, 1))
        points = clip.against_scene(clip.objects.points)
        total = np.where(seen, points[:, :, 1], 0.0).sum(axis=1)
        count = seen.sum(axis=1)
        return -np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return np.full(clip.demonstration.num_frames, np.nan)


def _running_mean(values: np.ndarray, width: int) -> np.ndarray:
    padded = np.pad(values, (width - 1, 0), mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    # Ids are made unique per figure, since all figures share one page.
    mark = f"f{zlib.crc32(svg.encode()):08x}_"
    svg = re.sub(r'(id="|href="#|url\(#)', lambda m: m.group(1) + mark, svg[svg.index("<svg") :])
    # As wide as drawn at most: the page's type and the figure's type stay of one size.
    return re.sub(r'width="([^"]+)" height="[^"]+"', r'style="width:\1;max-width:100%"', svg, count=1)
