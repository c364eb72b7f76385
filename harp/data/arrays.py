"""Arrays on disk that several processes may make at once, whoever finishes first."""

import os
from pathlib import Path

import numpy as np


def save_array(path: Path, array: np.ndarray) -> None:
    """Write a `.npy` that is there whole or not at all; each process writes under a name of its own before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial.npy")
    np.save(partial, array, allow_pickle=False)
    partial.replace(path)
