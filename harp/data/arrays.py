"""Arrays on disk that several processes may make at once, whoever finishes first."""

from pathlib import Path

import numpy as np

from data_schemas.whole_files import replacing


def save_array(path: Path, array: np.ndarray) -> None:
    """Write a `.npy` that is there whole or not at all."""
    with replacing(path) as draft, draft.open("wb") as file:
        np.save(file, array, allow_pickle=False)
