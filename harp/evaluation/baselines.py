"""What a few lines of algebra reach on frozen features: an adapter that does not beat these has shown nothing."""

import numpy as np


def mean_shift(human: np.ndarray, robot: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Move robot features by the mean difference of the training pairs.

    Args:
        human, robot: (N, D) features of the training pairs.
        queries: (M, D) robot features to map.
    """
    return queries + (human.mean(0) - robot.mean(0))


def ridge(human: np.ndarray, robot: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Map robot features by ridge regression of the residual human − robot on the training pairs.

    The penalty is the one of least leave-one-out error, which the hat matrix gives in closed form.

    Args:
        human, robot: (N, D) features of the training pairs.
        queries: (M, D) robot features to map.
    """
    X, X_mean = robot - robot.mean(0), robot.mean(0)
    Y = human - human.mean(0) - X
    U, S, Vt = np.linalg.svd(X, full_matrices=False)
    scale = (S**2).mean()
    best = min((scale * 10.0**k for k in range(-4, 5)), key=lambda penalty: _leave_one_out(U, S, Y, penalty))
    weights = Vt.T @ ((S / (S**2 + best))[:, None] * (U.T @ Y))
    return queries - X_mean + human.mean(0) + (queries - X_mean) @ weights


def _leave_one_out(U: np.ndarray, S: np.ndarray, Y: np.ndarray, penalty: float) -> float:
    shrink = S**2 / (S**2 + penalty)
    residual = Y - (U * shrink) @ (U.T @ Y)
    leverage = (U**2 * shrink).sum(1) + 1 / len(Y)  # 1 / N: the mean is fitted too
    return float(((residual / (1 - leverage).clip(1e-6)[:, None]) ** 2).sum())
