"""Demonstrations of one's own robot, written by the code of the documentation, are what stage 3 reads."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_schemas.episodes import read_collection
from data_schemas.errors import UserError
from harp.data.policy_episodes import EpisodeSet

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "policy_training.md"
STEPS = 8


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three episodes of a robot without a wrist camera."""
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)
    documented: dict[str, Any] = {}
    exec(code, documented)
    for number in range(3):
        numbers = np.random.default_rng(number).uniform(-0.02, 0.02, (STEPS, 4))
        frames = np.full((STEPS, 48, 64, 3), 60 * number, np.uint8)
        documented["write_episode"](
            f"reach_{number}", "reach", "reach the cup", numbers, 10 * numbers, {"third_view": frames}
        )
    return tmp_path / "raw" / "my-robot"


def test_are_read_with_their_numbers_and_pictures(own: Path, tmp_path: Path) -> None:
    episodes = EpisodeSet.open(own, tmp_path / "frames")
    assert [episode.info.name for episode in episodes.episodes] == ["reach_0", "reach_1", "reach_2"]
    assert read_collection(own).interface.actions == ("x", "y", "z", "gripper")
    assert episodes.normalization().action.dim == 4
    episodes.decode(cameras=1)
    for number, episode in enumerate(episodes.episodes):
        frames = episodes.frames(episode, "third_view")
        assert frames.shape == (STEPS, 48, 64, 3)
        assert abs(frames.astype(int) - 60 * number).max() <= 3  # H.264 rounds
        assert np.array_equal(episode.proprioception, 10 * episode.actions)


def test_a_camera_that_is_asked_for_and_not_there_is_named(own: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no .*reach_0/wrist\.mp4: .* data\.cameras=1"):
        EpisodeSet.open(own, tmp_path / "frames").decode(cameras=2)


def test_what_is_missing_in_the_description_is_named(own: Path) -> None:
    file = own / "demonstrations.json"
    file.write_text(file.read_text().replace('"rate"', '"hertz"'))
    with pytest.raises(UserError, match=r"demonstrations\.json: rate: Field required"):
        read_collection(own)
