"""OpenVLA-OFT's `dataset_statistics.json`, for tests of reading it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from harp.policy.normalization import Statistics


def oft_statistics(
    values: Mapping[str, tuple[np.ndarray, Statistics]], num_trajectories: int
) -> dict[str, Any]:
    """One data set's entry of `dataset_statistics.json`.

    Args:
        values: by `action` and `proprio`, all time steps (N, D) and their statistics.
    """
    entry: dict[str, Any] = {
        key: {
            "mean": steps.mean(0).tolist(),
            "std": steps.std(0).tolist(),
            "max": steps.max(0).tolist(),
            "min": steps.min(0).tolist(),
            "q01": statistics.q01.tolist(),
            "q99": statistics.q99.tolist(),
            "mask": statistics.mask.tolist(),
        }
        for key, (steps, statistics) in values.items()
    }
    num_steps = len(next(iter(values.values()))[0])
    return entry | {"num_transitions": num_steps, "num_trajectories": num_trajectories}
