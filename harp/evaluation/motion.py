"""How much of the wrist's motion do the codes of a transition say, in the same words for people and robots?

Agreement alone can be had from codes that name the task. Here a linear map from the codes of human transitions to the
displacement of the human wrist is read on the codes of robot transitions: what it explains of the robot's
displacement is motion, and motion that both embodiments express alike.
"""

from collections.abc import Sequence

import numpy as np

from harp.data.shards import ShardReader
from harp.data.version import Subject
from harp.evaluation.frames import FramePlan, Planned

PENALTY = 1.0
"""Of the ridge regression: one transition's worth of evidence that a code does not matter."""


def wrist_displacements(reader: ShardReader, pairs: Sequence[Planned], side: str) -> np.ndarray:
    """(N, M, 2) float64 displacement of the wrist over each transition, as shares of the frame's width and height.

    NaN where the wrist is not visible in both frames. On robot sides the wrist is the end effector.
    """
    return np.stack([_displacements(_track(reader, pair, side), plan) for pair, plan in pairs])


def motion_explained(
    human: np.ndarray, human_motion: np.ndarray, robot: np.ndarray, robot_motion: np.ndarray, num_codes: int
) -> float | None:
    """Percent of the robots' squared displacement, about the mean of people's, that codes fitted on people explain.

    100 where codes say all of it, 0 where they say nothing, less where they mislead.

    Args:
        human, robot: (N, M, Q) codes below `num_codes`.
        human_motion, robot_motion: (N, M, 2) displacements, NaN where unknown.

    Returns:
        None where either side has fewer than two known displacements, or nothing of the robots' is left to explain.
    """
    X, Y = _known(human, human_motion, num_codes)
    queries, truth = _known(robot, robot_motion, num_codes)
    if len(Y) < 2 or len(truth) < 2:
        return None
    X_mean, Y_mean = X.mean(0), Y.mean(0)
    X = X - X_mean
    weights = np.linalg.solve(X.T @ X + PENALTY * np.eye(X.shape[1]), X.T @ (Y - Y_mean))
    residual = truth - (Y_mean + (queries - X_mean) @ weights)
    total = ((truth - Y_mean) ** 2).sum()
    return float(100.0 * (1 - (residual**2).sum() / total)) if total else None


def _track(reader: ShardReader, pair: Subject, side: str) -> np.ndarray:
    """(T, 2) wrist of all frames, NaN where it is not visible."""
    cues = [reader.cues(segment, side) for segment in pair.segments]
    return np.concatenate([np.where(cue.wrist_visible[:, None], cue.wrist, np.nan) for cue in cues])


def _displacements(track: np.ndarray, plan: FramePlan) -> np.ndarray:
    first, second = np.array(plan.frames)[np.array(plan.transitions)].T
    return track[second].astype(np.float64) - track[first]


def _known(codes: np.ndarray, motion: np.ndarray, num_codes: int) -> tuple[np.ndarray, np.ndarray]:
    """One-hot codes (n, Q · K) and displacements (n, 2) of the transitions whose displacement is known."""
    known = np.isfinite(motion).all(-1)
    return np.eye(num_codes)[codes[known]].reshape(known.sum(), codes.shape[-1] * num_codes), motion[known]
