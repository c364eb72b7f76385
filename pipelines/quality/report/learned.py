"""What a report shows of a stage-1 run: curves of its losses, the table and pictures of its evaluation."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from harp.training.metrics import read_metrics
from pipelines.quality.report.figures import training_curves

UNADAPTED, ADAPTED = "unadapted", "stage 1"

CURVES = {
    "loss": "loss",
    "prediction": "prediction of the future",
    "prediction_over_copy": "prediction / copying the present",
    "vq": "vector quantization",
    "keypoints": "object keypoints (Huber)",
    "effector": "wrist or effector (Huber)",
    "alignment": "alignment",
    "paired_distance": "distance within pairs",
    "other_distance": "distance between pairs",
    "code_perplexity": "codebook perplexity",
}
"""Logged name -> title, in the order of the page; those that a run did not log are left out."""

PICTURES = (
    (
        "umap.png",
        "Map of the held-out videos (UMAP, cosine)",
        "Circles are human, triangles robot; some pairs are coloured. Left before, right after stage 1: partners move together.",
    ),
    (
        "paired_distance.png",
        "Distance within pairs",
        "Cosine distance between the two videos of each held-out pair; lower is closer.",
    ),
    (
        "umap_latent.png",
        "Map of the latent actions (UMAP, cosine)",
        "The code vectors of each video's transitions, flattened. Left with robot frames through the frozen encoder, "
        "right through the adapted one. Videos of equal codes lie on one spot.",
    ),
)


def training_section(run: Path) -> dict[str, Any] | None:
    """Curves and one sentence; None where the run has not logged a step yet."""
    rows = read_metrics(run)
    if not rows:
        return None
    seconds = sorted(row["seconds"] for row in rows)[len(rows) // 2]
    result = run / "result.json"
    state = "finished" if result.is_file() else "not finished"
    curves = {title: [row[name] for row in rows] for name, title in CURVES.items() if name in rows[-1]}
    return {
        "summary": f"{len(rows)} steps, {seconds:.2f} s each, {state}. Faint: every step; strong: running mean.",
        "curves": Markup(training_curves([int(row["step"]) for row in rows], curves)),
    }


def evaluation_section(run: Path) -> dict[str, Any] | None:
    """Retrieval table, pictures and headline; None where the run was not evaluated."""
    path = run / "evaluation" / "evaluation.json"
    if not path.is_file():
        return None
    evaluation = json.loads(path.read_text())
    rows: Mapping[str, Mapping[str, Any]] = evaluation["rows"]
    latent: Mapping[str, Mapping[str, Any]] = evaluation["latent"]
    before, after = rows[UNADAPTED]["recall_at_1"], rows[ADAPTED]["recall_at_1"]
    return {
        "headline": f"{before:.0f} → {after:.0f}",
        "summary": (
            f"Retrieval among {evaluation['num_pairs']} pairs that training never saw: given a human video, find the robot "
            f"video of the same pair (H2R), and the other way round (R2H). Chance is {100 / evaluation['num_pairs']:.1f} %. "
            "The last rows need no learning by gradient; a trained encoder has to beat them to have shown something."
        ),
        "columns": [
            "H2R R@1",
            "R2H R@1",
            "Average R@1",
            "95 % interval",
            "Average R@5",
            "Average MRR",
            "Paired distance",
            "Other distance",
        ],
        "rows": [_row(name, row) for name, row in rows.items()],
        "latent_summary": (
            f"Codes of {evaluation['num_frames']} transitions a video, {evaluation['horizon_seconds']:g} s each. "
            "R@1: retrieval by the flattened code vectors. Agreement: share of equal codes at aligned frames; its gap is the "
            "agreement in true pairs less that in all other combinations, 0 where codes say nothing about the motion."
        ),
        "latent_columns": [
            "H2R R@1",
            "R2H R@1",
            "Average R@1",
            "95 % interval",
            "Agreement in pairs",
            "In others",
            "Gap",
            "95 % interval",
            "Codes used",
            "Perplexity",
        ],
        "latent_rows": [_latent_row(name, row) for name, row in latent.items()],
        "pictures": list(_pictures(run / "evaluation")),
    }


def _row(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    values = [*_recalls(row), f"{row['recall_at_5']:.1f}", f"{row['mrr']:.3f}"]
    values += [f"{row['paired_distance']:.3f}", f"{row['other_distance']:.3f}"]
    return {"name": name, "values": values, "strong": name == ADAPTED}


def _latent_row(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    agreements = (sum(row[key]) / len(row[key]) for key in ("agreement", "other_agreement"))
    values = [*_recalls(row["retrieval"]), *(f"{agreement:.1f} %" for agreement in agreements)]
    values += [f"{row['gap']:.1f}", _interval(row["gap_interval"])]
    values += [f"{100 * row['usage']:.0f} %", f"{row['perplexity']:.1f}"]
    return {"name": name, "values": values, "strong": name == ADAPTED}


def _recalls(row: Mapping[str, Any]) -> list[str]:
    recalls = (row["human_to_robot"]["recall_at_1"], row["robot_to_human"]["recall_at_1"], row["recall_at_1"])
    return [*(f"{recall:.1f}" for recall in recalls), _interval(row["recall_at_1_interval"])]


def _interval(limits: Sequence[float]) -> str:
    return f"{limits[0]:.1f} to {limits[1]:.1f}"


def _pictures(folder: Path) -> Iterable[dict[str, str]]:
    for name, title, caption in PICTURES:
        if (folder / name).is_file():
            encoded = base64.b64encode((folder / name).read_bytes()).decode()
            yield {"title": title, "caption": caption, "source": f"data:image/png;base64,{encoded}"}
