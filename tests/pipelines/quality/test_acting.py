"""The report's part on a policy: its figures are those of the runs, its films play from inside the page."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from harp.evaluation.closed_loop.films import write_film
from harp.evaluation.closed_loop.results import ClosedLoopResult, TrialResult
from pipelines.quality.report.acting import MAX_FILMS, policy_section


def write_run(folder: Path, metrics: dict[str, list[float]], tests: dict[str, float]) -> Path:
    folder.mkdir(parents=True)
    rows = [dict(zip(metrics, values, strict=True)) for values in zip(*metrics.values(), strict=True)]
    lines = [json.dumps({"step": step, **row}) for step, row in enumerate(rows)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "result.json").write_text(json.dumps({"tests": tests}))
    return folder


def write_evaluation(folder: Path, films: int) -> None:
    """Ten trials of pressing, the first four succeed; `films` of each outcome are filmed."""
    trials = []
    for index in range(10):
        success = index < 4
        name = None
        if index < films or 4 <= index < 4 + films:
            name = f"films/press_{index}.mp4"
            write_film(folder / name, np.full((3, 32, 48, 3), 20 * index, np.uint8), rate=10)
        trials.append(TrialResult("press", index, 0, success, 30 if success else 160, 3, 1.0, name))
    ClosedLoopResult("tabletop", "policy@1", 0, tuple(trials)).write(folder / "evaluation.json")


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    stage2 = write_run(
        tmp_path / "stage2",
        {"loss": [3.0, 2.0, 1.0], "accuracy": [0.1, 0.2, 0.4]},
        {"held_out_accuracy": 0.336, "majority_accuracy": 0.188},
    )
    stage3 = write_run(tmp_path / "stage3", {"action_l1": [0.5, 0.2]}, {"demonstrations_l1": 0.1234})
    return stage2, stage3


def test_a_policy_that_was_not_evaluated_shows_its_training_alone(runs: tuple[Path, Path]) -> None:
    section = policy_section(*runs)
    assert section is not None
    assert "33.6 % of the latent-action codes" in section["summary"]
    assert "codes: 18.8 %" in section["summary"]
    assert "0.123 off" in section["summary"]
    assert [svg.count("</svg>") for svg in section["curves"]] == [1, 1]
    assert (section["evaluations"], section["films"], section["headline"]) == ([], [], None)
    alone = policy_section(None, runs[1])
    assert alone is not None
    assert len(alone["curves"]) == 1
    assert policy_section(None, runs[0].parent / "nothing") is None


def test_success_is_shown_with_films_of_both_outcomes(runs: tuple[Path, Path]) -> None:
    folder = runs[1] / "evaluation" / "tabletop"
    write_evaluation(folder, films=4)
    section = policy_section(*runs)
    assert section is not None
    assert section["headline"][0] == "4 of 10"
    assert section["evaluations"][0]["rows"][0] == {
        "name": "press",
        "values": ("10", "40.0 [16.8, 68.7]", "30"),
        "strong": False,
    }
    films = section["films"]
    assert len(films) == MAX_FILMS
    assert [film["success"] for film in films[:4]] == [True, False, True, False]
    content = base64.b64decode(films[0]["source"].removeprefix("data:video/mp4;base64,"))
    assert content == (folder / "films" / "press_0.mp4").read_bytes()
    assert films[0]["title"] == "press, trial 0"
