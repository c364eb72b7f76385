"""Every trial is played once, by the policy that was asked for, whatever happens in between."""

import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import av
import pytest

from data_schemas.errors import UserError
from harp.evaluation.closed_loop.evaluate import evaluate_closed_loop
from harp.evaluation.closed_loop.results import ClosedLoopResult
from tests.harp.evaluation.closed_loop.toy_world import LIMIT, ToyWorld


def played(diary: Path) -> Counter[str]:
    return Counter(diary.read_text().splitlines())


def evaluate(tmp_path: Path, out: str = "out", **settings: Any) -> ClosedLoopResult:
    settings = {"trials": 4, **settings}
    return evaluate_closed_loop(
        partial(ToyWorld, tmp_path / "diary"),
        "toy",
        "noop",
        tmp_path / out,
        **settings,
    )


def test_counts_successes_and_steps_of_every_task(tmp_path: Path) -> None:
    result = evaluate(tmp_path)
    assert [(one.task, one.index) for one in result.trials] == [
        (task, index) for task in ToyWorld.tasks for index in range(4)
    ]
    assert [one.success for one in result.trials[:4]] == [True, False, True, False]
    assert [one.steps for one in result.trials[:4]] == [1, LIMIT, 3, LIMIT]
    row = result.tasks["wait"]
    assert (row.trials, row.successes, row.mean_steps) == (4, 2, 2.0)
    assert result.tasks["average"].rate.mean == 50.0
    assert ClosedLoopResult.read(tmp_path / "out" / "evaluation.json") == result
    written = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert written["tasks"]["hide"]["rate"] == 50.0
    assert "| hide | 4 | 50.0 [15.0, 85.0] | 2 |" in result.markdown()


def test_a_longer_evaluation_plays_only_what_is_new(tmp_path: Path) -> None:
    evaluate(tmp_path, tasks=("wait",))
    evaluate(tmp_path, trials=5)
    again = evaluate(tmp_path, trials=5)
    assert set(played(tmp_path / "diary").values()) == {1}
    assert len(played(tmp_path / "diary")) == 10 == len(again.trials)
    evaluate(tmp_path, trials=1, seed=1)
    assert played(tmp_path / "diary")["1 wait 0"] == 1


def test_a_cut_off_line_is_a_trial_to_play_again(tmp_path: Path) -> None:
    before = evaluate(tmp_path, films=0)
    log = tmp_path / "out" / "trials.jsonl"
    log.write_text(log.read_text()[:-20])
    after = evaluate(tmp_path, films=0)
    assert played(tmp_path / "diary")["0 hide 3"] == 2
    assert sum(played(tmp_path / "diary").values()) == 9
    assert [one.success for one in after.trials] == [one.success for one in before.trials]
    assert len(log.read_text().splitlines()) == 8


def test_what_was_played_before_a_failure_stays(tmp_path: Path) -> None:
    broken = partial(ToyWorld, tmp_path / "diary", fails_at=2)
    with pytest.raises(RuntimeError, match="the world ends"):
        evaluate_closed_loop(broken, "toy", "noop", tmp_path / "out", trials=4)
    evaluate(tmp_path)
    assert set(played(tmp_path / "diary").values()) == {1}


@pytest.mark.slow
def test_processes_play_the_same_as_one(tmp_path: Path) -> None:
    alone = evaluate(tmp_path, "alone", films=0)
    (tmp_path / "diary").unlink()
    together = evaluate(tmp_path, "together", films=0, workers=2)
    outcomes = [
        [(t.task, t.index, t.success, t.steps) for t in result.trials] for result in (alone, together)
    ]
    assert outcomes[0] == outcomes[1]
    assert set(played(tmp_path / "diary").values()) == {1}


def test_films_some_successes_and_some_failures_of_every_task(tmp_path: Path) -> None:
    result = evaluate(tmp_path, films=1, trials=6)
    assert sorted(file.name for file in (tmp_path / "out" / "films").iterdir()) == [
        f"{task}_{kind}.mp4" for task in sorted(ToyWorld.tasks) for kind in ("failure_0_001", "success_0_000")
    ]
    films = {one.index: one.film for one in result.trials if one.task == "wait" and one.film}
    assert films == {0: "films/wait_success_0_000.mp4", 1: "films/wait_failure_0_001.mp4"}
    with av.open(str(tmp_path / "out" / films[1])) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) >= LIMIT + 2
    assert frames[0].shape == (16 + 22, 32, 3)
    red, green = frames[-1][10, 3, :2].astype(int)
    assert red > green + 60


def test_another_policy_does_not_mix_with_the_first(tmp_path: Path) -> None:
    evaluate(tmp_path)
    with pytest.raises(UserError, match="holds a run with replan=None, now replan=3"):
        evaluate(tmp_path, replan=3)


def test_unknown_names_are_said_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no task fly; the tasks are wait, hide"):
        evaluate(tmp_path, tasks=("fly",))
    with pytest.raises(UserError, match=r"holds no policy .* or one of expert, noop"):
        evaluate_closed_loop(partial(ToyWorld, tmp_path), "toy", str(tmp_path), tmp_path / "out")
    with pytest.raises(UserError, match=r"no 'toy' among harp.experts"):
        evaluate_closed_loop(partial(ToyWorld, tmp_path / "d"), "toy", "expert", tmp_path / "out")
