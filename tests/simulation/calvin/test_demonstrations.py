"""Scripted demonstrations: tasks come after what they need, and a written episode replays to success."""

from pathlib import Path

import numpy as np
import pytest

from data_schemas.episodes import VIDEOS, episode_folders, read_collection, read_episode
from data_schemas.errors import UserError
from simulation.calvin import demonstrations
from simulation.calvin.chains import initial_conditions, is_possible
from simulation.calvin.demonstrations import (
    CalvinDemonstrationsConfig,
    draw_trial,
    find_preparations,
    generate_calvin_demonstrations,
    perform,
)
from simulation.calvin.environment import CalvinEnvironment
from simulation.calvin.starts import ROBOT_START


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


def test_another_seed_s_folder_is_refused(made_up_data: Path, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        generate_calvin_demonstrations(CalvinDemonstrationsConfig(tmp_path, made_up_data, 1, scenes="D"))
    with pytest.raises(UserError, match="Unknown E"):
        generate_calvin_demonstrations(CalvinDemonstrationsConfig(tmp_path, made_up_data, 1, scenes="E"))
    with pytest.raises(UserError, match="no checkout of calvin_env"):
        generate_calvin_demonstrations(CalvinDemonstrationsConfig(tmp_path / "new", tmp_path, 1, scenes="D"))
    assert not (tmp_path / "new").exists()
