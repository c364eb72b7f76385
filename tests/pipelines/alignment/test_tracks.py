"""Recovery of a known correspondence from tracks seen by two cameras, with noise and gaps."""

import numpy as np
import pytest

from pipelines.alignment.normalization import Track, prepare_track
from pipelines.alignment.tracks import Warp, WarpConfig, align_tracks
from tests.pipelines.alignment.made_pairs import FPS, true_pair

CONFIG = WarpConfig()


def prepared(points: np.ndarray, usable: np.ndarray | None = None) -> Track:
    usable = np.ones(len(points), dtype=bool) if usable is None else usable
    return prepare_track(points, usable, np.arange(len(points)) / FPS, 0.1)


def aligned(human: np.ndarray, robot: np.ndarray, config: WarpConfig = CONFIG) -> Warp:
    return align_tracks(prepared(robot), prepared(human), config)


def mean_error(config: WarpConfig, noise: float = 1.0) -> float:
    pairs = [true_pair(seed, noise) for seed in range(12)]
    return float(
        np.mean([p.error(aligned(p.human_points, p.robot_points, config).human_index) for p in pairs])
    )


def test_known_correspondence_is_recovered() -> None:
    assert mean_error(CONFIG) < 0.015
    assert mean_error(CONFIG, noise=3.0) < 0.02


def test_velocity_and_view_fit_earn_their_place() -> None:
    full = mean_error(CONFIG)
    assert full < 0.9 * mean_error(CONFIG.model_copy(update={"motion_weight": 0.0}))
    assert full < 0.9 * mean_error(CONFIG.model_copy(update={"view_steps": 0}))


@pytest.mark.parametrize("seed", range(3))
def test_gaps_raise_the_error_little(seed: int) -> None:
    pair = true_pair(seed)
    human_seen = np.random.default_rng(seed).random(len(pair.human_points)) > 0.3
    robot_seen = np.ones(len(pair.robot_points), dtype=bool)
    robot_seen[20:32] = False
    human = np.where(human_seen[:, None], pair.human_points, np.nan)
    warp = align_tracks(prepared(pair.robot_points, robot_seen), prepared(human, human_seen), CONFIG)
    assert pair.error(warp.human_index) < 0.03
    assert (np.diff(warp.human_index) >= 0).all()


def test_identical_tracks_give_the_identity_at_no_cost() -> None:
    points = true_pair(5).robot_points
    warp = aligned(points, points)
    np.testing.assert_array_equal(warp.human_index, np.arange(len(points)))
    assert warp.cost == pytest.approx(0.0, abs=1e-9)


def test_cost_separates_the_same_task_from_another() -> None:
    same = [aligned(p.human_points, p.robot_points).cost for p in map(true_pair, range(6))]
    rng = np.random.default_rng(0)
    other = [aligned(rng.normal(size=(80, 2)).cumsum(0), true_pair(s).robot_points).cost for s in range(6)]
    assert max(same) < min(other)


@pytest.mark.parametrize(("robot", "human"), [(1, 1), (1, 9), (9, 1), (2, 3)])
def test_very_short_clips(robot: int, human: int) -> None:
    rng = np.random.default_rng(0)
    warp = aligned(rng.normal(size=(human, 2)), rng.normal(size=(robot, 2)))
    assert warp.human_index.shape == (robot,)
    assert (np.diff(warp.human_index) >= 0).all()
    assert warp.human_index.min() >= 0
    assert warp.human_index.max() < human


def test_where_nothing_moves_time_decides() -> None:
    warp = aligned(np.full((41, 2), 5.0), np.full((21, 2), 7.0))
    np.testing.assert_allclose(warp.human_index, 2 * np.arange(21), atol=1)
