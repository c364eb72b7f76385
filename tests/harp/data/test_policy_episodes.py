"""Demonstrations as stage 3 reads them: chunks, states, pictures, what is normalized."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data_schemas.episodes import VIDEOS
from data_schemas.errors import UserError
from data_schemas.identity import file_sha256
from harp.data import policy_episodes
from harp.data.policy_chunks import Stage3Loader
from harp.data.policy_episodes import EpisodeSet, action_chunk, decode_video
from harp.policy.config import ActionConfig, ImageConfig
from tests.harp.policy.tiny_policy import tiny_config as tiny_policy_config
from tests.harp.training.tiny_demonstrations import STEPS, TASKS, episode_set, write_demonstrations

CHUNK = 3


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demonstrations(tmp_path_factory.mktemp("demonstrations") / "raw")


def test_a_playlist_is_no_demonstration(demonstrations, tmp_path):
    """It names the file that is decoded, wherever that lies."""
    shutil.copy(next(demonstrations.glob("episodes/*/wrist.mp4")), tmp_path / "secret.mp4")
    playlist = tmp_path / "wrist.mp4"
    playlist.write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with pytest.raises(UserError, match=r"wrist\.mp4 cannot be decoded"):
        decode_video(playlist, STEPS)


def test_chunks_states_and_pictures_of_a_batch(demonstrations, tmp_path):
    episodes = episode_set(demonstrations, tmp_path)
    normalization = episodes.normalization()
    assert normalization.action.mask.tolist() == [True, True, False]  # the gripper is 1 or -1 as it is
    settings = {"chunk": CHUNK, "dim": 3, "proprioception_dim": 2}
    policy = ActionConfig.model_validate(settings)
    config = tiny_policy_config(cameras=2, action=policy)
    loader = Stage3Loader(episodes, normalization, config, 9, batch_size=8, seed=0)
    assert len(loader.steps) == len(TASKS) * 2 * STEPS
    batch = loader.collate(loader.steps[:])
    assert batch.third_view is not None
    assert batch.wrist is not None
    row = 0
    for episode in episodes.episodes:
        for t in range(STEPS):
            for k in range(CHUNK):
                assert batch.is_action[row, k] == (t + k < STEPS)
                if t + k < STEPS:
                    expected = normalization.action.normalize(episode.actions[t + k])
                    np.testing.assert_allclose(batch.actions[row, k], expected)
            np.testing.assert_array_equal(batch.third_view[row], episodes.frames(episode, "third_view")[t])
            row += 1
    assert not torch.equal(batch.wrist, batch.third_view)
    assert batch.proprioception is not None
    assert batch.proprioception.abs().max() <= 1
    parts = [
        Stage3Loader(episodes, normalization, config, 9, batch_size=8, seed=0, rank=r, world_size=2).load(5)
        for r in (0, 1)
    ]
    whole = loader.load(5)
    assert torch.equal(whole.actions[::2], parts[0].actions)
    assert whole.third_view is not None
    assert parts[1].third_view is not None
    assert torch.equal(whole.third_view[1::2], parts[1].third_view)


def test_a_video_that_was_written_again_is_decoded_again(demonstrations, tmp_path):
    root = tmp_path / "raw"
    shutil.copytree(demonstrations, root)
    first = episode_set(root, tmp_path / "frames")
    video = first.episodes[0].video("third_view")
    before = np.array(first.frames(first.episodes[0], "third_view"))
    shutil.copyfile(first.episodes[-1].video("third_view"), video)
    again = episode_set(root, tmp_path / "frames")
    assert not np.array_equal(again.frames(again.episodes[0], "third_view"), before)


def test_a_video_is_hashed_once_however_often_it_is_looked_at(demonstrations, tmp_path, monkeypatch):
    hashed: list[Path] = []
    monkeypatch.setattr(
        policy_episodes, "file_sha256", lambda path: (hashed.append(path), file_sha256(path))[1]
    )
    episodes = episode_set(demonstrations, tmp_path)
    for episode in episodes.episodes:
        for camera in VIDEOS:
            episodes.frames(episode, camera)
    assert episodes.identity == episodes.identity
    videos = [path for path in hashed if path.suffix == ".mp4"]
    assert len(videos) == len(set(videos)) == len(TASKS) * 2 * len(VIDEOS)


def test_a_dimension_that_stands_still_or_moves_by_rounding_only_is_held_there(demonstrations, tmp_path):
    episodes = EpisodeSet.open(demonstrations, tmp_path)
    rng = np.random.default_rng(0)
    still = []
    for episode in episodes.episodes:
        actions = episode.actions + np.array([0, 0, 5])
        actions[:, 0], actions[:, 1] = 0, 1e-12 * rng.normal(size=STEPS)
        still.append(replace(episode, actions=actions))
    action = replace(episodes, episodes=tuple(still)).normalization().action
    assert action.mask.tolist() == [True, True, True]  # 4 and 6 are no command within ±1
    normalized = action.normalize(still[0].actions)
    assert not normalized[:, :2].any()
    np.testing.assert_allclose(normalized[:, 2], [1, 1, 1, -1, -1, -1])
    np.testing.assert_allclose(action.denormalize(np.full((1, 3), 0.5))[:, :2], 0, atol=1e-7)


def test_random_crops_follow_from_the_step(demonstrations, tmp_path):
    episodes = episode_set(demonstrations, tmp_path)
    settings = {"chunk": CHUNK, "dim": 3}
    policy = ActionConfig.model_validate(settings)
    config = tiny_policy_config(cameras=2, action=policy, image=ImageConfig(crop_area=0.8))
    normalization = episodes.normalization()

    def views(step: int) -> torch.Tensor:
        batch = Stage3Loader(episodes, normalization, config, 9, batch_size=24, seed=0).load(step)
        assert batch.third_view is not None
        return batch.third_view

    assert views(0).shape == (24, 29, 29, 3)  # 32 √0.8
    assert torch.equal(views(3), views(3))
    corners = {tuple(row.tolist()) for row in views(3)[:, 0, :, 2]}
    assert len(corners) > len(TASKS) * 2  # more edges of the bar than steps could show uncropped


def test_chunk_ends_with_the_episode():
    actions = np.arange(8.0).reshape(4, 2)
    chunk, exists = action_chunk(actions, 2, 5)
    assert chunk.tolist() == [[4, 5], [6, 7], [6, 7], [6, 7], [6, 7]]
    assert exists.tolist() == [True, True, False, False, False]
