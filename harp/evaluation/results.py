"""Result of an evaluation: rows of figures, as JSON, as a table in Markdown, as a table for a terminal."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from data_schemas.whole_files import replacing
from harp.evaluation.intervals import Estimate, bootstrap_mean
from harp.evaluation.latent import LatentAlignment
from harp.evaluation.retrieval import Direction, Retrieval

UNADAPTED, ADAPTED = "unadapted", "stage 1"

COLUMNS = (
    "H2R R@1",
    "H2R R@5",
    "H2R MRR",
    "R2H R@1",
    "R2H R@5",
    "R2H MRR",
    "average R@1",
    "average R@5",
    "average MRR",
    "paired distance",
    "other distance",
)
LATENT_COLUMNS = (
    "H2R R@1",
    "R2H R@1",
    "average R@1",
    "average MRR",
    "agreement in pairs",
    "others",
    "gap",
    "over time",
    "motion",
    "codes used",
    "perplexity",
)

IN_TERMINAL = ("H2R R@1", "R2H R@1", "average R@1", "paired distance", "other distance")
LATENT_IN_TERMINAL = ("average R@1", "agreement in pairs", "gap", "motion")
"""What fits 80 columns; the files hold all."""


@dataclass(frozen=True)
class Evaluation:
    """What came of a stage-1 run on the held-out pairs of a version."""

    key: str
    """Of run, version and settings: an evaluation of the same key is not computed again."""
    version_id: str
    num_pairs: int
    """Held-out pairs."""
    num_frames: int
    """Frames pooled per video, and transitions per video."""
    horizon_seconds: float
    """Δ of the transitions."""
    rows: dict[str, Retrieval]
    """`unadapted`, `stage 1`, then the baselines without learning."""
    latent: dict[str, LatentAlignment]
    """`unadapted` (robot transitions through the frozen encoder) and `stage 1`; empty without a latent action
    model."""

    def advantages(self) -> Iterator[tuple[str, Estimate]]:
        """(row, average R@1 of stage 1 less that of the row, pair by pair)."""
        for name, row in self.rows.items():
            if name != ADAPTED:
                yield name, bootstrap_mean(self.rows[ADAPTED].hits - row.hits)

    def cells(self) -> dict[str, list[str]]:
        """Row name → texts in the order of `COLUMNS`."""
        return {name: _cells(row) for name, row in self.rows.items()}

    def markdown(self) -> str:
        """The tables with a line each that says what they are about."""
        lines = [
            f"Retrieval among {self.num_pairs} held-out pairs of version {self.version_id}, "
            f"{self.num_frames} frames a video. R@1 and R@5 in percent; brackets: 95 % bootstrap interval over pairs.",
            "",
            *_markdown_table(COLUMNS, self.cells()),
            "",
            "Average R@1 of stage 1 less that of: "
            + "; ".join(f"{name} {estimate.text()}" for name, estimate in self.advantages())
            + ".",
        ]
        if self.latent:
            lines += [
                "",
                f"Latent actions of {self.num_frames} transitions a video, Δ = {self.horizon_seconds:g} s. "
                "Agreement in percent of codes (over time: between transitions of one video), gap in points. "
                "Motion: percent of the robots' wrist displacement that codes fitted on people's explain.",
                "",
                *_markdown_table(
                    LATENT_COLUMNS, {name: _latent_cells(row) for name, row in self.latent.items()}
                ),
            ]
        return "\n".join(lines) + "\n"

    def table(self) -> Table:
        """The retrieval table for a terminal, without R@5 and MRR."""
        return _terminal_table(
            f"Retrieval among {self.num_pairs} held-out pairs", COLUMNS, self.cells(), IN_TERMINAL
        )

    def latent_table(self) -> Table:
        """The table of latent actions for a terminal."""
        cells = {name: _latent_cells(row) for name, row in self.latent.items()}
        return _terminal_table("Latent actions of the same pairs", LATENT_COLUMNS, cells, LATENT_IN_TERMINAL)

    def to_json(self) -> dict[str, Any]:
        """JSON-compatible content, with the values of every pair."""
        return {
            "key": self.key,
            "version_id": self.version_id,
            "num_pairs": self.num_pairs,
            "num_frames": self.num_frames,
            "horizon_seconds": self.horizon_seconds,
            "rows": {name: row.to_json() for name, row in self.rows.items()},
            "latent": {name: row.to_json() for name, row in self.latent.items()},
        }

    def write(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        with replacing(path) as draft:
            draft.write_text(json.dumps(self.to_json(), indent=1) + "\n")

    @staticmethod
    def from_json(content: dict[str, Any]) -> "Evaluation":
        """Inverse of `to_json`."""
        content["rows"] = {name: Retrieval.from_json(row) for name, row in content["rows"].items()}
        content["latent"] = {name: LatentAlignment.from_json(row) for name, row in content["latent"].items()}
        return Evaluation(**content)


def _markdown_table(columns: tuple[str, ...], rows: dict[str, list[str]]) -> list[str]:
    head = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    return head + [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]


def _terminal_table(
    title: str, columns: tuple[str, ...], rows: dict[str, list[str]], shown: tuple[str, ...]
) -> Table:
    table = Table(title=title, box=SIMPLE, pad_edge=False)
    table.add_column("", no_wrap=True)
    for column in shown:
        # A figure is never cut, so the heading has to make room.
        table.add_column(column.replace(" ", "\n"), justify="right", no_wrap=True)
    for name, cells in rows.items():
        texts = dict(zip(columns, cells, strict=True))
        table.add_row(name, *(texts[column] for column in shown), style="bold" if name == ADAPTED else None)
    return table


def _cells(row: Retrieval) -> list[str]:
    return [
        *_direction(row.human_to_robot),
        *_direction(row.robot_to_human),
        row.recall_at_1_interval.text(),
        f"{row.recall_at_5:.1f}",
        f"{row.mrr:.3f}",
        f"{row.paired_distance:.4f}",
        f"{row.other_distance:.4f}",
    ]


def _direction(direction: Direction) -> list[str]:
    return [f"{direction.recall_at_1:.1f}", f"{direction.recall_at_5:.1f}", f"{direction.mrr:.3f}"]


def _latent_cells(row: LatentAlignment) -> list[str]:
    retrieval = row.retrieval
    return [
        f"{retrieval.human_to_robot.recall_at_1:.1f}",
        f"{retrieval.robot_to_human.recall_at_1:.1f}",
        retrieval.recall_at_1_interval.text(),
        f"{retrieval.mrr:.3f}",
        f"{row.agreement.mean():.1f}",
        f"{row.other_agreement.mean():.1f}",
        row.gap.text(),
        f"{row.agreement_over_time:.1f}",
        "" if row.motion_explained is None else f"{row.motion_explained:.0f} %",
        f"{100 * row.usage:.0f} %",
        f"{row.perplexity:.1f}",
    ]
