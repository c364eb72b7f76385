"""Batches hold what the shards hold; frozen features are those of the encoder; positions resume."""

import numpy as np
import pytest
import torch

from data_schemas.errors import UserError
from harp.data.config import DataConfig
from harp.data.frozen_features import FrozenFeatures
from harp.data.loader import Stage1Loader
from harp.data.sampling import TransitionSampler
from harp.data.shards import ShardReader
from harp.data.version import PublishedVersion
from tests.harp.tiny_version import ORIGINAL, disc_path, subject_id, write_version

CONFIG = DataConfig(pairs_per_batch=3, singles_per_batch=4, context_frames=2, horizon_seconds=(0.2, 0.5))


def encode(frames: torch.Tensor) -> torch.Tensor:
    """A frozen encoder that is easy to follow: 4 patches, each its mean colour."""
    cells = frames.float().unflatten(1, (2, 112)).unflatten(3, (2, 112))
    return cells.mean((2, 4)).flatten(1, 2) / 255


class World:
    """A version with all that reads it."""

    def __init__(self, folder, features_folder, max_token_bytes=10**9):
        self.version = PublishedVersion.open(folder)
        self.reader = ShardReader(self.version)
        self.features = FrozenFeatures.prepare(
            self.version,
            self.reader,
            encode,
            identity="mean colours",
            folder=features_folder,
            max_token_bytes=max_token_bytes,
        )

    def loader(self, keypoints=3, steps=5):
        sampler = TransitionSampler(self.version, CONFIG, 0)
        return Stage1Loader(sampler, self.reader, self.features, keypoints, steps)


@pytest.fixture
def folder(tmp_path):
    return write_version(
        tmp_path / "lake", pairs=5, held_out=1, humans=2, robots=2, frames=9, segment_frames=4
    )


def test_batch_content(folder, tmp_path):
    world = World(folder, tmp_path / "features")
    batch = world.loader().load(3)
    draw = TransitionSampler(world.version, CONFIG, 0).draw(3)
    assert batch.num_pairs == 3
    assert batch.robot_ids[:3] == batch.human_ids[:3] == tuple(d.subject.subject_id for d in draw.pairs)
    assert len(batch.robot_ids) == len(batch.human_ids) == 5
    assert batch.robot_frames.shape == (2 * 5 + 3 * 2, 224, 224, 3)
    assert batch.human_tokens is not None
    assert batch.human_tokens.shape == (5, 2, 4, 3)
    assert batch.human_pooled.shape == batch.robot_frozen_pooled.shape == (3, 4, 3)
    for n, clip in enumerate(draw.pairs):
        for i, frame in enumerate(clip.frames):
            segment, local = clip.subject.locate(frame)
            human, robot = (
                encode(torch.from_numpy(world.reader.frames(segment, side, [local])))[0]
                for side in ("human", "robot")
            )
            torch.testing.assert_close(batch.human_pooled[n, i], human.mean(0))
            torch.testing.assert_close(batch.robot_frozen_pooled[n, i], robot.mean(0))
            if i < 2:
                torch.testing.assert_close(batch.human_tokens[n, i].float(), human, atol=4e-3, rtol=0)
                expected = world.reader.frames(segment, "robot", [local])[0]
                assert np.array_equal(batch.robot_frames[2 * n + i].numpy(), expected)
            else:
                expected = world.reader.frames(segment, "robot", [local])[0]
                assert np.array_equal(batch.robot_frames[10 + 2 * n + i - 2].numpy(), expected)


def test_cues_are_those_of_the_transition_as_shares_of_the_image(folder, tmp_path):
    world = World(folder, tmp_path / "features")
    batch = world.loader(keypoints=5).load(0)
    pairs = TransitionSampler(world.version, CONFIG, 0).draw(0).pairs
    for n, clip in enumerate(pairs):
        path = next(
            disc_path(number, 9) for number in range(5) if clip.subject.subject_id == subject_id(number)
        )
        mask = batch.robot_cues.keypoint_mask[n]
        assert not mask[:, 3:].any(), "keypoints that the clip does not have are masked"
        for i, frame in enumerate(clip.frames[:2]):
            if mask[i, 0]:
                point = batch.robot_cues.keypoints[n, i, 0] * torch.tensor(ORIGINAL)
                np.testing.assert_allclose(point, path[frame], rtol=1e-5)
            if batch.human_cues.effector_mask[n, i]:
                point = batch.human_cues.effector[n, i] * torch.tensor(ORIGINAL)
                np.testing.assert_allclose(point, path[frame] - 20, rtol=1e-4)


def test_too_many_keypoints_is_one_sentence(folder, tmp_path):
    with pytest.raises(UserError, match=r"has 3 object keypoints, the recipe predicts 2; set latent_action"):
        World(folder, tmp_path / "features").loader(keypoints=2).load(0)


def test_frames_stand_in_where_tokens_do_not_fit(folder, tmp_path):
    kept = World(folder, tmp_path / "features").loader().load(1)
    batch = World(folder, tmp_path / "features", max_token_bytes=0).loader().load(1)
    assert batch.human_tokens is None
    assert batch.human_frames is not None
    assert kept.human_tokens is not None
    tokens = encode(batch.human_frames).view(5, 2, 4, 3)
    torch.testing.assert_close(tokens, kept.human_tokens.float(), atol=4e-3, rtol=0)


def test_features_are_computed_once(folder, tmp_path):
    first = World(folder, tmp_path / "features").loader().load(2)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "features").rglob("*.npy")}
    removed = min(files)
    removed.unlink()
    second = World(folder, tmp_path / "features").loader().load(2)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "features").rglob("*.npy")}
    assert files.keys() == after.keys()
    unchanged = [path for path in files if files[path] == after[path]]
    assert len(unchanged) == len(files) // 2, "only the shard that lost a file is computed again"
    assert first.human_tokens is not None
    assert second.human_tokens is not None
    assert torch.equal(first.human_tokens, second.human_tokens)


def test_position_resumes(folder, tmp_path):
    world = World(folder, tmp_path / "features")
    whole = list(world.loader())
    assert [batch.step for batch in whole] == [0, 1, 2, 3, 4]
    loader = world.loader()
    iterator = iter(loader)
    for _ in range(2):
        next(iterator)
    state = loader.state_dict()
    resumed = world.loader()
    resumed.load_state_dict(state)
    rest = list(resumed)
    assert [batch.step for batch in rest] == [2, 3, 4]
    assert all(torch.equal(a.robot_frames, b.robot_frames) for a, b in zip(whole[2:], rest, strict=True))


def test_a_version_without_pairs_or_without_robots_gives_batches(tmp_path):
    for humans, robots in ((2, 0), (0, 2), (1, 1)):
        folder = write_version(
            tmp_path / f"{humans}{robots}", pairs=0, held_out=0, humans=humans, robots=robots, frames=5
        )
        batch = World(folder, tmp_path / "features").loader().load(0)
        assert (len(batch.human_ids), len(batch.robot_ids)) == (humans, robots)
        assert len(batch.robot_frames) == 2 * robots


@pytest.mark.parametrize(("world_size", "accumulate"), [(2, 1), (1, 2), (2, 2)])
def test_ranks_and_micro_batches_split_the_batch_of_one_process(folder, tmp_path, world_size, accumulate):
    world = World(folder, tmp_path / "features")
    config = DataConfig(pairs_per_batch=4, singles_per_batch=4, context_frames=1)

    def loader(**share):
        return Stage1Loader(
            TransitionSampler(world.version, config, 0), world.reader, world.features, 3, 3, **share
        )

    whole = list(loader())
    parts = [list(loader(rank=r, world_size=world_size, accumulate=accumulate)) for r in range(world_size)]
    for rank in parts:
        assert [(b.step, b.micro) for b in rank] == [(s, m) for s in range(3) for m in range(accumulate)]
    for step, batch in enumerate(whole):
        share = [parts[r][step * accumulate + m] for m in range(accumulate) for r in range(world_size)]
        number = world_size * accumulate
        assert all(b.num_pairs == 4 // number for b in share)
        assert [i for i, b in enumerate(share) for _ in range(b.num_pairs)] == sorted(
            list(range(number)) * (4 // number)
        )
        for i, b in enumerate(share):
            assert b.robot_ids[: b.num_pairs] == batch.robot_ids[:4][i::number]
            assert torch.equal(b.human_pooled, batch.human_pooled[i::number])
            transitions = batch.robot_frames[:8].unflatten(0, (4, 2))[i::number].flatten(0, 1)
            assert torch.equal(b.robot_frames[: 2 * b.num_pairs], transitions)
        singles = [name for b in share for name in (*b.robot_ids[b.num_pairs :], *b.human_ids[b.num_pairs :])]
        assert sorted(singles) == sorted((*batch.robot_ids[4:], *batch.human_ids[4:]))


def test_a_batch_that_cannot_be_split_is_one_sentence(folder, tmp_path):
    world = World(folder, tmp_path / "features")
    sampler = TransitionSampler(world.version, CONFIG, 0)
    with pytest.raises(UserError, match=r"3 pairs cannot be split .* set data\.pairs_per_batch to 2\."):
        Stage1Loader(sampler, world.reader, world.features, 3, 5, world_size=2)
    with pytest.raises(UserError, match=r"3 pairs cannot be split .* use fewer of these"):
        Stage1Loader(sampler, world.reader, world.features, 3, 5, world_size=2, accumulate=2)
    # The recipe's 8 would do; the version has 5.
    sampler = TransitionSampler(world.version, DataConfig(pairs_per_batch=8, singles_per_batch=0), 0)
    with pytest.raises(UserError, match=r"5 pairs cannot be split .* set data\.pairs_per_batch to 4\."):
        Stage1Loader(sampler, world.reader, world.features, 3, 5, world_size=2)


def test_position_counts_whole_steps_and_fits_any_number_of_ranks(folder, tmp_path):
    world = World(folder, tmp_path / "features")
    config = DataConfig(pairs_per_batch=4, singles_per_batch=0, context_frames=0)
    sampler = TransitionSampler(world.version, config, 0)
    loader = Stage1Loader(sampler, world.reader, world.features, 3, 4, accumulate=2)
    iterator = iter(loader)
    positions = []
    for _ in range(3):
        next(iterator)
        positions.append(loader.state_dict()["step"])
    assert positions == [0, 1, 1], "a step counts once all its micro-batches were given out"
    resumed = Stage1Loader(sampler, world.reader, world.features, 3, 4, rank=1, world_size=4)
    resumed.load_state_dict(loader.state_dict())
    assert [b.step for b in resumed] == [1, 2, 3]
