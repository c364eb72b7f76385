"""The generator: same seed same pixels, resuming, redrawing, refusals."""

import dataclasses
import hashlib
import json
from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from data_schemas.errors import UserError
from simulation import tabletop
from simulation.appearance import Tone
from simulation.cli import app
from simulation.content import TASKS, task_of
from simulation.embodiment import Embodiment
from simulation.rollout import Rollout
from simulation.tabletop import TabletopConfig, generate

SMALL = {"size": 64, "pace": 0.4, "rate": 4.0}


def frame_hashes(root: Path) -> dict[str, str]:
    hashes = {}
    for video in sorted(root.glob("RH20T_cfg8/task_*/cam_*/color.mp4")):
        digest = hashlib.sha256()
        with av.open(str(video)) as container:
            for frame in container.decode(video=0):
                digest.update(frame.to_ndarray(format="rgb24").tobytes())
        hashes[video.parent.parent.name] = digest.hexdigest()
    return hashes


def test_pair_depends_on_seed_and_index_only(tmp_path: Path) -> None:
    generate(TabletopConfig(out=tmp_path / "two", pairs=2, seed=5, **SMALL), processes=2)
    generate(TabletopConfig(out=tmp_path / "one", pairs=1, unpaired_robot=1, seed=5, **SMALL))
    generate(TabletopConfig(out=tmp_path / "other", pairs=1, seed=6, **SMALL))
    two, one, other = (frame_hashes(tmp_path / name) for name in ("two", "one", "other"))
    shared = set(two) & set(one)
    assert len(shared) == 2
    assert {k: two[k] for k in shared} == {k: one[k] for k in shared}
    assert not set(other.values()) & set(two.values())


@pytest.mark.parametrize("own_looks", [False, True])
def test_the_clips_of_a_pair_share_their_look_or_have_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_looks: bool
) -> None:
    real, looks = tabletop.apply, {}

    def watched(body: Embodiment, *args) -> Tone:
        tone, model = real(body, *args), body.model
        looks[body.kind] = [model.mat_rgba[model.mat(name).id].copy() for name in ("table", "wall")]
        looks[body.kind].append(model.light_dir[model.light("lamp").id].copy())
        return tone

    monkeypatch.setattr(tabletop, "apply", watched)
    generate(TabletopConfig(out=tmp_path, pairs=1, seed=5, own_looks=own_looks, **SMALL))
    for human, robot in zip(looks["human"], looks["robot"], strict=True):
        assert (np.abs(human - robot).max() > 0.01) == own_looks


def test_a_folder_of_before_there_was_the_choice_is_continued(tmp_path: Path) -> None:
    config = TabletopConfig(out=tmp_path, pairs=1, seed=5, **SMALL)
    generate(config)
    state = json.loads((tmp_path / "simulation.json").read_text())
    del state["config"]["own_looks"]
    (tmp_path / "simulation.json").write_text(json.dumps(state))
    generate(config)
    with pytest.raises(UserError, match="own_looks=False, asked for True"):
        generate(dataclasses.replace(config, own_looks=True))


def test_killed_run_continues_without_redoing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = TabletopConfig(out=tmp_path, pairs=2, seed=5, **SMALL)
    real, made = tabletop.make, []

    def dies_at_second(config: TabletopConfig, job: tabletop.Job) -> dict:
        if job.index == 1:
            raise KeyboardInterrupt
        return real(config, job)

    monkeypatch.setattr(tabletop, "make", dies_at_second)
    with pytest.raises(KeyboardInterrupt):
        generate(config)
    monkeypatch.setattr(tabletop, "make", lambda c, job: made.append(job.index) or real(c, job))
    assert generate(config)["items"] == 2
    assert made == [1]


def test_failed_demonstrations_are_redrawn_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = tabletop.roll_out, []

    def fails_first(*args, **kwargs) -> Rollout:
        calls.append(1)
        rollout = real(*args, **kwargs)
        return dataclasses.replace(rollout, success=False) if len(calls) == 1 else rollout

    monkeypatch.setattr(tabletop, "roll_out", fails_first)
    summary = generate(TabletopConfig(out=tmp_path, pairs=1, seed=5, **SMALL))
    assert summary["attempts"] == {"pick_place/human": 2, "pick_place/robot": 1}
    assert summary["success_before_redrawing"] == {"pick_place/human": 0.0, "pick_place/robot": 1.0}


def test_impossible_content_gives_way_to_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tabletop.roll_out
    config = TabletopConfig(out=tmp_path, pairs=1, seed=5, **SMALL)
    first = tabletop.draw_content(5, 0, tabletop.FIRST_SCENE["paired"]).instruction

    def never_this(body, content, *args, **kwargs) -> Rollout:
        rollout = real(body, content, *args, **kwargs)
        return dataclasses.replace(rollout, success=False) if content.instruction == first else rollout

    monkeypatch.setattr(tabletop, "roll_out", never_this)
    generate(config)
    (item,) = json.loads((tmp_path / tabletop.STATE_FILE).read_text())["items"].values()
    assert item["instruction"] != first
    assert item["task"] == TASKS[0]
    assert item["attempts"]["human"] == tabletop.MAX_ATTEMPTS + 1


def test_summary_reports_every_task(dataset: Path) -> None:
    summary = json.loads((dataset / tabletop.STATE_FILE).read_text())["summary"]
    assert set(summary["success_before_redrawing"]) == {f"{t}/{e}" for t in TASKS for e in ("human", "robot")}
    assert summary["seconds_per_pair"] > 0


def test_fewer_tasks_are_a_part_of_all(tmp_path: Path) -> None:
    every = TabletopConfig(out=tmp_path, pairs=12, unpaired_robot=4)
    some = dataclasses.replace(every, pairs=6, unpaired_robot=2, tasks=("flip", "pick_place"))
    chosen = [job for job in tabletop.wanted(every) if task_of(job.index) in some.tasks]
    assert tabletop.wanted(some) == chosen
    # So that a folder of some tasks can be continued with the others.
    assert some.identity() == every.identity()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tasks": ("press", "juggle")}, "Unknown task 'juggle': choose one of pick_place"),
        ({"pairs": 1501, "tasks": ("press",)}, "expected 0 to 1500"),
        ({"pairs": 0}, "give --pairs"),
        ({"pairs": -1}, "expected 0 to"),
        ({"size": 101}, "even number"),
        ({"rate": 0.1}, "1 to 60"),
        ({"seed": -1}, "no negative"),
        ({"robot": "ur5e"}, "choose one of xarm7_gripper"),
    ],
)
def test_bad_arguments_are_refused(tmp_path: Path, change: dict, words: str) -> None:
    config = dataclasses.replace(TabletopConfig(out=tmp_path / "new", pairs=1), **change)
    with pytest.raises(UserError, match=words):
        generate(config)
    assert not (tmp_path / "new").exists()


def test_foreign_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match=r"is not empty and holds no simulation\.json"):
        generate(TabletopConfig(out=tmp_path, pairs=1, overwrite=True))
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_other_settings_are_refused(dataset: Path) -> None:
    with pytest.raises(UserError, match="seed=3, asked for 4"):
        generate(TabletopConfig(out=dataset, pairs=1, seed=4, size=96, pace=0.5))


def test_command_line_writes_a_data_set(tmp_path: Path) -> None:
    arguments = ["tabletop", "--out", str(tmp_path / "raw"), "--pairs", "1", "--size", "64", "--rate", "3"]
    result = CliRunner().invoke(app, [*arguments, "--task", "press"])
    assert result.exit_code == 0, result.output
    assert len(frame_hashes(tmp_path / "raw")) == 2
    (item,) = json.loads((tmp_path / "raw" / tabletop.STATE_FILE).read_text())["items"].values()
    assert item["task"] == "press"
