"""The matplotlib style of the report's figures; apart from the colours, which flows need without matplotlib."""

from matplotlib import rcParams

from pipelines.quality.report.palette import GRID, INK, MUTED


def use_report_style() -> None:
    """Quiet axes, text in the page's font, vectors as text."""
    rcParams.update(
        {
            "figure.dpi": 110,
            "savefig.bbox": "tight",
            "svg.fonttype": "none",
            "svg.hashsalt": "harp",
            "font.family": "sans-serif",
            "font.sans-serif": ["Inter", "Segoe UI", "Helvetica Neue", "Arial", "DejaVu Sans"],
            "font.size": 9.5,
            "axes.titlesize": 10.5,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": MUTED,
            "axes.labelcolor": INK,
            "axes.grid": True,
            "grid.color": GRID,
            "axes.axisbelow": True,
            "xtick.color": MUTED,
            "ytick.color": MUTED,
            "text.color": INK,
            "legend.frameon": False,
        }
    )
