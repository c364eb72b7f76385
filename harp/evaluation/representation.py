"""Do human and robot videos meet? Retrieval and paired distance on held-out pairs, before and after stage 1 (A.4).

Three rows without learning stand beside the encoder's: mean colours, mean shift and ridge regression of frozen
features. Whatever is fitted is fitted on the training pairs.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from safetensors.torch import load_file

from data_schemas.errors import UserError
from harp.data.shards import ShardReader
from harp.data.version import PublishedVersion
from harp.evaluation.baselines import mean_shift, ridge
from harp.evaluation.features import PairFeatures, pair_features
from harp.evaluation.pictures import plot_paired_distances, plot_umap
from harp.evaluation.retrieval import Retrieval, retrieve
from harp.training.run_folder import read_run
from harp.training.stage1 import ADAPTERS
from harp.vision.encoder import load_vision_encoder

UNADAPTED, ADAPTED = "unadapted", "stage 1"
COLUMNS = (
    "H2R R@1",
    "H2R R@5",
    "H2R MRR",
    "R2H R@1",
    "R2H R@5",
    "R2H MRR",
    "average R@1",
    "average MRR",
    "paired distance",
    "other distance",
)


@dataclass(frozen=True)
class Evaluation:
    """Rows of the retrieval table."""

    version_id: str
    num_pairs: int
    """Held-out pairs."""
    num_frames: int
    """Frames pooled per video."""
    rows: dict[str, Retrieval]
    """`unadapted`, `stage 1`, then the baselines."""

    def cells(self) -> dict[str, list[str]]:
        """Row name → texts in the order of `COLUMNS`."""
        return {name: _cells(row) for name, row in self.rows.items()}

    def markdown(self) -> str:
        """The table with a line that says what it is about."""
        lines = [
            f"Retrieval among {self.num_pairs} held-out pairs of version {self.version_id}, "
            f"{self.num_frames} frames a video. R@1 and R@5 in percent.",
            "",
            "| | " + " | ".join(COLUMNS) + " |",
            "|---" * (len(COLUMNS) + 1) + "|",
        ]
        lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in self.cells().items()]
        return "\n".join(lines) + "\n"

    def table(self) -> Table:
        """The table for a terminal."""
        table = Table(title=f"Retrieval among {self.num_pairs} held-out pairs")
        table.add_column("")
        for column in COLUMNS:
            table.add_column(column, justify="right")
        for name, cells in self.cells().items():
            table.add_row(name, *cells, style="bold" if name == ADAPTED else None)
        return table

    def to_json(self) -> dict[str, Any]:
        """JSON-compatible content, with the distance of every pair."""
        rows = {
            name: {
                **asdict(row),
                "paired_distances": row.paired_distances.tolist(),
                "recall_at_1": row.recall_at_1,
                "mrr": row.mrr,
                "paired_distance": row.paired_distance,
            }
            for name, row in self.rows.items()
        }
        return {
            "version_id": self.version_id,
            "num_pairs": self.num_pairs,
            "num_frames": self.num_frames,
            "rows": rows,
        }


def evaluate_representation(
    run: Path, version_root: Path | None = None, out: Path | None = None
) -> Evaluation:
    """Evaluate the adapters of a finished stage-1 run on held-out pairs.

    Args:
        run: folder of the run.
        version_root: folder of the version; the one that the run was trained on by default.
        out: where `evaluation.json`, `retrieval.md`, `umap.png` and `paired_distance.png` go;
            `<run>/evaluation` by default.

    Raises:
        UserError: unfinished run, or fewer than two held-out pairs.
    """
    config, trained_on = read_run(run)
    if not (run / ADAPTERS).is_file():
        raise UserError(f"The run in {run} is not finished; call `harp train stage1` again to continue it.")
    version = PublishedVersion.open(version_root or trained_on)
    train, held_out = (version.subjects(split, "pair") for split in ("train", "held_out"))
    if len(held_out) < 2:
        raise UserError(f"Retrieval needs at least two held-out pairs; there is {version.describe()}.")
    torch.manual_seed(config.seed)  # a backbone without pretrained weights must be the one of training
    encoder = load_vision_encoder(config.vision).eval()
    encoder.load_adapter_state_dict(load_file(run / ADAPTERS))
    reader = ShardReader(version, config.data.verify)
    fitted, tested = (
        pair_features(encoder, reader, pairs, config.evaluation_frames, config.training.precision)
        for pairs in (train, held_out)
    )
    evaluation = Evaluation(
        version.version_id, len(held_out), config.evaluation_frames, rows=_rows(fitted, tested)
    )

    out = out or run / "evaluation"
    out.mkdir(parents=True, exist_ok=True)
    (out / "evaluation.json").write_text(json.dumps(evaluation.to_json(), indent=2) + "\n")
    (out / "retrieval.md").write_text(evaluation.markdown())
    robots = {"before: F(R)": tested.robot_frozen, "after: T(R)": tested.robot_adapted}
    plot_umap(tested.human, robots, [pair.instruction for pair in held_out], out / "umap.png", config.seed)
    distances = {name: evaluation.rows[name].paired_distances for name in (UNADAPTED, ADAPTED)}
    plot_paired_distances(distances, out / "paired_distance.png")
    return evaluation


def _rows(fitted: PairFeatures, tested: PairFeatures) -> dict[str, Retrieval]:
    rows = {
        UNADAPTED: retrieve(tested.human, tested.robot_frozen),
        ADAPTED: retrieve(tested.human, tested.robot_adapted),
        "8×8 mean colour": retrieve(tested.human_colour, tested.robot_colour),
    }
    if len(fitted.human) > 1:
        pairs = (fitted.human, fitted.robot_frozen, tested.robot_frozen)
        rows["mean shift"] = retrieve(tested.human, mean_shift(*pairs))
        rows["ridge"] = retrieve(tested.human, ridge(*pairs))
    return rows


def _cells(row: Retrieval) -> list[str]:
    directions = (row.human_to_robot, row.robot_to_human)
    cells = [
        f"{v:.1f}" if i < 2 else f"{v:.3f}" for d in directions for i, v in enumerate(asdict(d).values())
    ]
    return [
        *cells,
        f"{row.recall_at_1:.1f}",
        f"{row.mrr:.3f}",
        f"{row.paired_distance:.4f}",
        f"{row.other_distance:.4f}",
    ]
