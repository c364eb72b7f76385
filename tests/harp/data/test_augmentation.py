"""One view for all frames of a clip; cue points follow what they mark."""

import numpy as np
import torch

from data_schemas.samples import FRAME_SIZE
from harp.data.augmentation import View, draw_view
from harp.data.batch import collate_cues, collate_frames
from harp.data.config import AugmentationConfig, DataConfig
from harp.data.sampling import TransitionSampler
from harp.data.shards import ShardReader
from harp.data.version import PublishedVersion
from tests.harp.tiny_version import write_version

CROPS = AugmentationConfig(min_crop=0.5)
ALL = AugmentationConfig(min_crop=0.5, brightness=0.3, contrast=0.3, saturation=0.3)


def test_points_follow_the_pixels_they_mark():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(100):
        x, y = rng.integers(4, FRAME_SIZE - 4, 2)
        frame = np.zeros((1, FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
        frame[0, y - 1 : y + 2, x - 1 : x + 2] = 255
        view = draw_view(CROPS, rng)
        seen = view.frames(frame)[0, :, :, 0].astype(float)
        point = (np.array([[x, y]]) + 0.5) / FRAME_SIZE
        (moved,), (visible,) = view.points(point, np.array([True]))
        if not visible:
            assert not moved.any()
            continue
        edge = 4 / FRAME_SIZE
        if ((moved > edge) & (moved < 1 - edge)).all():
            inside += 1
            rows, columns = np.nonzero(seen > 127)
            centre = (np.array((columns.mean(), rows.mean())) + 0.5) / FRAME_SIZE
            np.testing.assert_allclose(moved, centre, atol=1 / FRAME_SIZE)
    assert inside > 30


def test_masked_points_stay_masked():
    view = View(0, 0, FRAME_SIZE, 1.2, 1, 1)
    points, visible = view.points(np.array([[0.5, 0.5], [0.0, 0.0]]), np.array([True, False]))
    np.testing.assert_allclose(points, [[0.5, 0.5], [0, 0]])
    assert visible.tolist() == [True, False]


def test_factors_change_colours_as_named():
    frames = np.random.default_rng(0).integers(60, 130, (2, FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
    brighter = View(0, 0, FRAME_SIZE, 1.5, 1, 1).frames(frames)
    np.testing.assert_allclose(brighter, frames * 1.5, atol=0.51)
    flatter = View(0, 0, FRAME_SIZE, 1, 0.5, 1).frames(frames)
    np.testing.assert_allclose(flatter.std(), frames.std() / 2, rtol=0.02)
    grey = View(0, 0, FRAME_SIZE, 1, 1, 0).frames(frames)
    assert (np.ptp(grey, axis=-1) == 0).all()


def test_a_clip_has_one_view_and_only_the_robot_is_augmented(tmp_path):
    version = PublishedVersion.open(
        write_version(tmp_path, pairs=4, held_out=0, humans=2, robots=2, frames=12, segment_frames=5)
    )
    reader = ShardReader(version)
    config = DataConfig(pairs_per_batch=4, singles_per_batch=4, context_frames=2)
    augmented = TransitionSampler(version, config.model_copy(update={"robot_augmentation": ALL}), 0)
    plain, seen = TransitionSampler(version, config, 0).draw(3), augmented.draw(3)
    assert [d.frames for d in plain.pairs] == [d.frames for d in seen.pairs], "frames are drawn as without"
    assert len({d.view for d in seen.pairs}) == 4
    assert seen == augmented.draw(3)
    assert seen != augmented.draw(4)
    for part in (slice(0, 2), slice(2, None)):
        human = [collate_frames(draw.pairs, "human", reader, part) for draw in (plain, seen)]
        assert torch.equal(*human)
        published = collate_frames(plain.pairs, "robot", reader, part).numpy()
        robot = collate_frames(seen.pairs, "robot", reader, part).numpy()
        for n, clip in enumerate(seen.pairs):
            rows = slice(2 * n, 2 * n + 2)
            assert clip.view is not None
            assert np.array_equal(robot[rows], clip.view.frames(published[rows]))
    before, after = (collate_cues(draw.pairs, "robot", reader, 3) for draw in (plain, seen))
    assert after.keypoint_mask.sum() <= before.keypoint_mask.sum()
    for n, clip in enumerate(seen.pairs):
        assert clip.view is not None
        kept = after.keypoint_mask[n]
        scale = FRAME_SIZE / clip.view.size
        corner = torch.tensor((clip.view.left, clip.view.top)) / FRAME_SIZE
        expected = (before.keypoints[n][kept] - corner) * scale
        torch.testing.assert_close(after.keypoints[n][kept], expected, atol=1e-5, rtol=0)
    human_cues = [collate_cues(draw.pairs, "human", reader, 3).keypoints for draw in (plain, seen)]
    assert torch.equal(*human_cues)
