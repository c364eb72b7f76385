"""Colours and matplotlib style that all pictures of the report share."""

from matplotlib import rcParams

HUMAN = "#d9622b"
ROBOT = "#2563a8"
OBJECT = "#1fa36b"
WRIST = "#e11d74"
INK = "#1c2430"
MUTED = "#6b7685"
GRID = "#e4e8ee"


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
