"""What codes say of the wrist's motion, against scikit-learn and against loops over frames."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from harp.data.shards import ShardReader
from harp.data.version import PublishedVersion
from harp.evaluation.frames import plan_frames
from harp.evaluation.motion import motion_explained, wrist_displacements
from tests.harp.tiny_version import write_version

PAIRS, TRANSITIONS, CODES = 12, 5, 4


def codes(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, CODES, (PAIRS, TRANSITIONS, 2))


def motion_of(code: np.ndarray, noise: float, seed: int) -> np.ndarray:
    directions = np.array([[1.0, 0.0], [-1.0, 0.2], [0.0, 1.0], [0.3, -1.0]])
    return directions[code].sum(-2) + noise * np.random.default_rng(seed).normal(size=(*code.shape[:2], 2))


def test_equals_ridge_regression_on_one_hot_codes():
    human, robot = codes(1), codes(2)
    human_motion, robot_motion = motion_of(human, 0.8, 3), motion_of(robot, 0.8, 4)
    human_motion[0, 1], robot_motion[3, 2, 1] = np.nan, np.nan

    def rows(code, motion):
        known = [(n, m) for n in range(PAIRS) for m in range(TRANSITIONS) if not np.isnan(motion[n, m]).any()]
        one_hot = [[float(c == k) for c in code[place] for k in range(CODES)] for place in known]
        return np.array(one_hot), np.array([motion[place] for place in known])

    X, Y = rows(human, human_motion)
    queries, truth = rows(robot, robot_motion)
    assert len(Y) == len(truth) == PAIRS * TRANSITIONS - 1
    squared = ((truth - Ridge(alpha=1.0).fit(X, Y).predict(queries)) ** 2).sum()
    expected = 100 * (1 - squared / ((truth - Y.mean(0)) ** 2).sum())
    assert 20 < expected < 95
    found = motion_explained(human, human_motion, robot, robot_motion, CODES)
    assert found == pytest.approx(expected)


def test_codes_of_the_same_words_say_all_and_codes_of_chance_nothing():
    human, robot = codes(1), codes(2)
    human_motion, robot_motion = motion_of(human, 0.0, 3), motion_of(robot, 0.0, 4)
    same = motion_explained(human, human_motion, robot, robot_motion, CODES)
    other_words = motion_explained(human, human_motion, (robot + 1) % CODES, robot_motion, CODES)
    assert same is not None
    assert other_words is not None
    assert same > 97
    assert other_words < 0


def test_wrists_that_are_unknown_or_stand_still_say_nothing():
    unknown = np.full((PAIRS, TRANSITIONS, 2), np.nan)
    known = motion_of(codes(1), 0.0, 3)
    assert motion_explained(codes(1), known, codes(2), unknown, CODES) is None
    still = np.zeros_like(known)
    assert motion_explained(codes(1), still, codes(2), still, CODES) is None


def test_displacements_are_those_of_visible_wrists_in_the_transitions_frames(tmp_path):
    version = PublishedVersion.open(write_version(tmp_path / "lake", pairs=3, held_out=1, frames=12))
    reader = ShardReader(version)
    pairs = [(pair, plan_frames(pair, 4, 0.4, 5)) for pair in version.subjects("train", "pair")]
    for side in ("human", "robot"):
        found = wrist_displacements(reader, pairs, side)
        hidden = 0
        for n, (pair, plan) in enumerate(pairs):
            for m, transition in enumerate(plan.transitions):
                ends = []
                for place in transition:
                    segment, i = pair.locate(plan.frames[place])
                    cues = reader.cues(segment, side)
                    ends.append(cues.wrist[i].astype(float) if cues.wrist_visible[i] else np.full(2, np.nan))
                np.testing.assert_allclose(found[n, m], ends[1] - ends[0], atol=1e-7)
                hidden += np.isnan(ends).any()
        assert 0 < hidden < found.size / 2
