"""Random access to clips kept as videos, the way LeRobot keeps and reads them, with PyAV.

LeRobot stores a camera as mp4 (AV1 by SVT-AV1, CRF 30, a key frame every 2 frames) and reads the frames of a sample with
one of two backends: `torchcodec` asks for frames by index, each from the key frame before it; `pyav` seeks to the first
frame and decodes until the last. Both ways are written here against PyAV.
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

CODEC = "libsvtav1"
OPTIONS = {"g": "2", "crf": "30", "preset": "8"}


def write_video(frames: np.ndarray, path: Path, fps: int) -> None:
    """(N, H, W, 3) uint8 RGB frames as mp4."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(CODEC, rate=fps, options=OPTIONS)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for i, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = i, Fraction(1, fps)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


class Video:
    """One open clip of constant frame rate."""

    def __init__(self, path: Path) -> None:
        self._container = av.open(str(path))
        self._stream = self._container.streams.video[0]
        assert self._stream.average_rate is not None
        assert self._stream.time_base is not None
        self._ticks = 1 / (self._stream.average_rate * self._stream.time_base)

    def one_by_one(self, indices: Sequence[int]) -> np.ndarray:
        """(n, H, W, 3) uint8 RGB: each frame from the key frame before it."""
        return np.stack([self._sweep([i])[i] for i in indices])

    def in_one_sweep(self, indices: Sequence[int]) -> np.ndarray:
        """(n, H, W, 3) uint8 RGB: everything from the first frame to the last is decoded."""
        found = self._sweep(indices)
        return np.stack([found[i] for i in indices])

    def _sweep(self, indices: Sequence[int]) -> dict[int, np.ndarray]:
        self._container.seek(round(min(indices) * self._ticks), stream=self._stream)
        found = {}
        for frame in self._container.decode(self._stream):
            assert frame.pts is not None
            index = round(frame.pts / self._ticks)
            if index in indices:
                found[index] = frame.to_ndarray(format="rgb24", threads=1)
            if index >= max(indices):
                return found
        raise ValueError(f"the video ends before frame {max(indices)}")
