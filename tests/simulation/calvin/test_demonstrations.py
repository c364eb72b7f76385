"""Scripted demonstrations: tasks come after what they need, and a written episode replays to success."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from data_schemas.episodes import COLLECTION_FILE, VIDEOS, episode_folders, read_collection, read_episode
from data_schemas.errors import UserError
from simulation.calvin import demonstrations
from simulation.calvin.chains import initial_conditions, is_possible
from simulation.calvin.demonstrations import (
    FAILURES_FILE,
    CalvinDemonstrationsConfig,
    CalvinTrial,
    draw_trial,
    find_preparations,
    generate_calvin_demonstrations,
    perform,
)
from simulation.calvin.environment import CalvinEnvironment
from simulation.calvin.starts import ROBOT_START
from simulation.robot_demonstrations import Recording


def test_tasks_come_after_what_they_need():
    random = np.random.default_rng(0)
    condition = initial_conditions()[0]
    assert find_preparations(condition, "turn_on_led", random) == ()
    lifted = find_preparations(condition, "place_in_slider", random)
    assert lifted is not None
    assert len(lifted) == 1
    assert lifted[0].startswith("lift")
    assert is_possible(condition, (*lifted, "place_in_slider"))


@pytest.mark.slow
def test_an_episode_replays_to_success(
    environment: CalvinEnvironment, made_up_data: Path, tmp_path: Path, monkeypatch
):
    drawn = []
    original = demonstrations.draw_trial
    monkeypatch.setattr(demonstrations, "draw_trial", lambda *a: drawn.append(original(*a)) or drawn[-1])
    config = CalvinDemonstrationsConfig(tmp_path, made_up_data, 1, scenes="D", tasks=("move_slider_left",))
    generate_calvin_demonstrations(config)
    generate_calvin_demonstrations(config)
    (folder,) = episode_folders(tmp_path)
    episode, trial = read_episode(folder), drawn[-1]
    assert episode.info.task == "move_slider_left"
    assert episode.actions.shape[1] == len(read_collection(tmp_path).actions) == 7
    assert all(episode.video(camera).stat().st_size > 1000 for camera in VIDEOS)
    again = draw_trial("move_slider_left", trial.index, 0, {"D": environment})
    assert np.array_equal(again.state, trial.state)
    environment.place(np.array(ROBOT_START), again.state)
    for task in again.preparations:
        assert perform(environment, task)
    environment.instruct("move_slider_left")
    outcomes = [environment.step(action)[1] for action in episode.actions]
    assert outcomes == [False] * (len(outcomes) - 1) + [True]


@pytest.fixture
def config(made_up_data: Path, tmp_path: Path) -> CalvinDemonstrationsConfig:
    return CalvinDemonstrationsConfig(tmp_path, made_up_data, 1, scenes="D", tasks=("turn_on_led",))


@pytest.fixture
def expert(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """What the expert comes to, without its motions: an episode of 15 steps, or, of trial 0, a failure."""
    seen: Any = SimpleNamespace(
        instruction="turn on the led",
        proprioception=np.zeros(8),
        third_view=np.zeros((32, 32, 3), np.uint8),
        wrist=np.zeros((32, 32, 3), np.uint8),
    )
    recording = Recording([seen] * 15, np.zeros((15, 7)), True)

    def comes_to(success: bool) -> None:
        def record(environment: CalvinEnvironment, trial: CalvinTrial) -> Recording | None:
            return recording if success or trial.index else None

        monkeypatch.setattr(demonstrations, "record", record)

    return comes_to


def test_videos_last_as_long_as_their_episodes(
    config: CalvinDemonstrationsConfig, expert: Callable[[bool], None]
):
    expert(True)
    generate_calvin_demonstrations(config)
    (folder,) = episode_folders(config.out)
    for camera in VIDEOS:
        with av.open(str(read_episode(folder).video(camera))) as container:
            (stream,) = container.streams.video
            assert stream.frames == 15
            assert stream.average_rate == read_collection(config.out).rate
            assert stream.duration is not None
            assert stream.time_base is not None
            assert float(stream.duration * stream.time_base) == pytest.approx(0.5)


@pytest.mark.parametrize("file", [COLLECTION_FILE, FAILURES_FILE])
def test_a_kill_while_a_file_is_written_leaves_the_one_before(
    config: CalvinDemonstrationsConfig,
    expert: Callable[[bool], None],
    monkeypatch: pytest.MonkeyPatch,
    file: str,
):
    expert(True)
    generate_calvin_demonstrations(config)
    (config.out / FAILURES_FILE).write_text('["turn_on_led_00009"]')
    before = (config.out / file).read_text()
    wanted = before if file == COLLECTION_FILE else "turn_on_led_00000"
    write = Path.write_text

    def killed(path: Path, text: str) -> int:
        """The process ends when the file has been opened."""
        if wanted not in text:
            return write(path, text)
        write(path, "")
        raise KeyboardInterrupt

    (episode,) = episode_folders(config.out)
    shutil.rmtree(episode)
    expert(False)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            generate_calvin_demonstrations(config)
    assert (config.out / file).read_text() == before
    assert generate_calvin_demonstrations(config) == {"turn_on_led": 0.5}
    assert [folder.name for folder in episode_folders(config.out)] == ["turn_on_led_00001"]


def test_another_seed_s_folder_is_refused(made_up_data: Path, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        generate_calvin_demonstrations(CalvinDemonstrationsConfig(tmp_path, made_up_data, 1, scenes="D"))
    with pytest.raises(UserError, match="Unknown E"):
        generate_calvin_demonstrations(CalvinDemonstrationsConfig(tmp_path, made_up_data, 1, scenes="E"))
    with pytest.raises(UserError, match="no checkout of calvin_env"):
        generate_calvin_demonstrations(CalvinDemonstrationsConfig(tmp_path / "new", tmp_path, 1, scenes="D"))
    assert not (tmp_path / "new").exists()
