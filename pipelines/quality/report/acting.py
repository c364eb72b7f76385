"""What a report shows of a policy: curves of stages 2 and 3, success in closed loop, films of rollouts."""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from harp.evaluation.closed_loop.results import AVERAGE, ClosedLoopResult
from harp.training.metrics import read_metrics
from pipelines.quality.report.figures import training_curves

MAX_FILMS = 6

STAGE2_CURVES = {"loss": "stage 2: cross-entropy", "accuracy": "stage 2: codes right"}
STAGE3_CURVES = {
    "action_l1": "stage 3: action error (L1)",
    "first_action_l1": "stage 3: error of the first action",
}


def policy_section(stage2: Path | None, stage3: Path) -> dict[str, Any] | None:
    """Everything about a policy; None where stage 3 has not logged a step yet.

    Args:
        stage2, stage3: folders of the runs; the closed-loop evaluations below `stage3/evaluation` are shown.
    """
    if not read_metrics(stage3):
        return None
    curves = [_curves(stage2, STAGE2_CURVES)] if stage2 else []
    evaluations = [
        ClosedLoopResult.read(path) for path in sorted(stage3.glob("evaluation/*/evaluation.json"))
    ]
    return {
        "summary": _summary(stage2, stage3),
        "curves": [Markup(svg) for svg in [*curves, _curves(stage3, STAGE3_CURVES)] if svg],
        "evaluations": [_evaluation(one) for one in evaluations],
        "films": [film for one in evaluations for film in _films(one, stage3 / "evaluation")][:MAX_FILMS],
        "headline": _headline(evaluations),
    }


def _curves(run: Path, shown: Mapping[str, str]) -> str:
    rows = read_metrics(run)
    if not rows:
        return ""
    curves = {title: [row[name] for row in rows] for name, title in shown.items() if name in rows[-1]}
    return training_curves([int(row["step"]) for row in rows], curves, columns=2)


def _summary(stage2: Path | None, stage3: Path) -> str:
    sentences = []
    before, after = _tests(stage2) if stage2 else {}, _tests(stage3)
    if "held_out_accuracy" in before:
        sentences.append(
            f"After stage 2 the policy names {100 * before['held_out_accuracy']:.1f} % of the latent-action codes of videos "
            f"it never saw (always the most frequent codes: {100 * before['majority_accuracy']:.1f} %)."
        )
    if "demonstrations_l1" in after:
        sentences.append(
            f"After stage 3 its actions are {after['demonstrations_l1']:.3f} off on average at steps of the demonstrations, "
            "where ±1 is the range of an action."
        )
    return " ".join(sentences)


def _tests(run: Path) -> dict[str, float]:
    path = run / "result.json"
    return json.loads(path.read_text())["tests"] if path.is_file() else {}


def _headline(evaluations: Sequence[ClosedLoopResult]) -> tuple[str, str] | None:
    if not evaluations:
        return None
    whole = evaluations[0].tasks[AVERAGE]
    return (
        f"{whole.successes} of {whole.trials}",
        f"trials in which the policy succeeded ({evaluations[0].environment})",
    )


def _evaluation(result: ClosedLoopResult) -> dict[str, Any]:
    rows = [
        {"name": name.replace("_", " "), "values": cells, "strong": name == AVERAGE}
        for name, cells in result.cells().items()
    ]
    return {"environment": result.environment, "rows": rows}


def _films(result: ClosedLoopResult, evaluations: Path) -> list[dict[str, Any]]:
    """Successes and failures by turns, so that the first few have both."""
    filmed = [trial for trial in result.trials if trial.film]
    by_turns: list[tuple[int, dict[str, Any]]] = []
    for success in (True, False):
        for turn, trial in enumerate(trial for trial in filmed if trial.success is success):
            path = evaluations / result.environment / str(trial.film)
            if path.is_file():
                source = "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()
                title = f"{trial.task.replace('_', ' ')}, trial {trial.index}"
                by_turns.append((turn, {"title": title, "success": success, "source": source}))
    return [film for _, film in sorted(by_turns, key=lambda item: item[0])]
