"""Demonstrations with actions: exact, replayable, resumable, readable."""

import dataclasses
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from data_schemas.episodes import VIDEOS, episode_folders, read_collection, read_episode
from data_schemas.errors import BadInput, UserError
from simulation import robot_demonstrations
from simulation.cli import app
from simulation.environment import TabletopEnvironment
from simulation.robot_demonstrations import DemonstrationsConfig, Recording, generate_demonstrations
from simulation.trials import Trial

SMALL: dict[str, Any] = {"size": 64, "tasks": ("press", "push"), "seed": 2}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demonstrations") / "raw"
    rates = generate_demonstrations(DemonstrationsConfig(out=out, per_task=1, **SMALL))
    assert set(rates) == {"press", "push"}
    return out


def test_replayed_actions_give_the_recorded_proprioception_and_success(made: Path) -> None:
    collection, folders = read_collection(made), episode_folders(made)
    assert len(folders) == 2
    assert collection.size is not None
    environment = TabletopEnvironment(collection.robot, collection.size)
    for folder in folders:
        episode = read_episode(folder)
        trial = Trial(episode.info.task, episode.info.trial, collection.seed, "demonstrations")
        observation = environment.reset(trial)
        assert observation.instruction == episode.info.instruction
        done = success = False
        for action, proprioception in zip(episode.actions, episode.proprioception, strict=True):
            assert not done
            np.testing.assert_array_equal(observation.proprioception, proprioception)
            observation, done, success = environment.step(action)
        assert done
        assert success
    environment.close()


def test_videos_have_a_frame_before_every_action(made: Path) -> None:
    for folder in episode_folders(made):
        episode = read_episode(folder)
        assert np.abs(episode.actions).max() <= 1
        for camera in VIDEOS:
            with av.open(str(episode.video(camera))) as video:
                frames = [f.to_ndarray(format="rgb24") for f in video.decode(video=0)]
            assert len(frames) == episode.info.steps
            assert frames[0].shape == (64, 64, 3)
            assert np.abs(frames[0].astype(int) - frames[-1]).mean() > 2


def test_larger_run_continues_and_keeps_what_is_there(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, tried = robot_demonstrations.record_trial, []
    before = {f: f.read_bytes() for f in made.rglob("*.*") if f.suffix in (".npz", ".mp4")}

    def watched(environment: TabletopEnvironment, trial: Trial) -> Recording:
        tried.append(trial.index)
        return real(environment, trial)

    monkeypatch.setattr(robot_demonstrations, "record_trial", watched)
    generate_demonstrations(DemonstrationsConfig(out=made, per_task=1, **SMALL))
    assert tried == []
    (made / "episodes" / ".press_00001.part").mkdir()  # what a killed run leaves
    generate_demonstrations(DemonstrationsConfig(out=made, per_task=2, **SMALL))
    assert 0 not in tried
    assert len(episode_folders(made)) == 4
    assert all(f.read_bytes() == content for f, content in before.items())


def test_failed_trials_are_left_out_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tried = robot_demonstrations.record_trial, []

    def fails_first(environment: TabletopEnvironment, trial: Trial) -> Recording:
        tried.append(trial.index)
        recording = real(environment, trial)
        return recording if trial.index else Recording(recording.observations, recording.actions, False)

    monkeypatch.setattr(robot_demonstrations, "record_trial", fails_first)
    config = DemonstrationsConfig(out=tmp_path, per_task=1, size=64, tasks=("press",))
    assert generate_demonstrations(config) == {"press": 0.5}
    assert generate_demonstrations(config) == {"press": 0.5}
    assert tried == [0, 1]
    assert [f.name for f in episode_folders(tmp_path)] == ["press_00001"]


def test_other_settings_and_foreign_folders_are_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="seed=2, asked for 3"):
        generate_demonstrations(
            dataclasses.replace(DemonstrationsConfig(out=made, per_task=1, **SMALL), seed=3)
        )
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="is not empty"):
        generate_demonstrations(DemonstrationsConfig(out=tmp_path, per_task=1))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--per-task", "0"], "expected 1 to"),
        (["--size", "33"], "even"),
        (["--robot", "ur5e"], "choose one"),
        (["--task", "pres"], "choose one"),
        (["--seed", "-1"], "no negative"),
    ],
)
def test_command_refuses_bad_arguments(tmp_path: Path, arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["demonstrations", "--out", str(tmp_path / "new"), *arguments])
    assert isinstance(result.exception, UserError)
    assert words in str(result.exception)
    assert not (tmp_path / "new").exists()


def test_damaged_episode_names_its_reason(made: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no demonstrations"):
        read_collection(tmp_path)
    source = episode_folders(made)[0]
    (tmp_path / "episode.json").write_bytes((source / "episode.json").read_bytes())
    with pytest.raises(BadInput, match="unreadable_episode"):
        read_episode(tmp_path)
    np.savez(tmp_path / "steps.npz", actions=np.zeros((3, 7)), proprioception=np.zeros((3, 7)))
    with pytest.raises(BadInput, match="bad_episode_shape"):
        read_episode(tmp_path)
    (tmp_path / "steps.npz").write_bytes((source / "steps.npz").read_bytes()[:200])
    with pytest.raises(BadInput, match="unreadable_episode"):
        read_episode(tmp_path)
