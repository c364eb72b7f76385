"""What every video backend offers, and how to open a video with one.

A backend either gives exactly the frames asked for or refuses; it never gives a neighbour. PyAV is the
default and was exact on every kind of file tried (B-frames, variable frame rate, AV1, edit lists, rotation).
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from data_schemas.errors import UserError
from data_schemas.storage import location
from pipelines.inputs import VideoInput
from pipelines.video.container import VideoFile
from pipelines.video.index import VideoIndex
from pipelines.video.pyav_reader import PyAVReader


class VideoReader(Protocol):
    """Random access to the frames of one video. Not thread-safe; close it, or use it in a `with` block.

    *Convention*: frames are (H, W, 3) uint8 RGB, turned and mirrored as the container says.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...

    def close(self) -> None: ...

    def __len__(self) -> int: ...

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    @property
    def fps(self) -> float:
        """1 / median frame interval."""
        ...

    @property
    def timestamps(self) -> np.ndarray:
        """(T,) float64 seconds from the first frame, by the container's clock."""
        ...

    def frames(self, indices: Iterable[int]) -> np.ndarray:
        """Frames by display index, in the order asked for, repeats allowed.

        Returns:
            (N, H, W, 3). Each group of pictures that holds a wanted frame is decoded once.

        Raises:
            IndexError: an index is negative or not below `len`.
            BadInput: `video_changed`, the file is no longer the one that was indexed.
        """
        ...

    def at(self, times: Iterable[float]) -> np.ndarray:
        """Frames shown at times in seconds: the last frame whose timestamp is not later.

        Times before the first frame give the first, times after the end the last.

        Returns:
            (N, H, W, 3).
        """
        ...

    def iter_frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """Frames `start` to `stop` (exclusive) one by one, each (H, W, 3), in constant memory."""
        ...


BACKENDS: dict[str, Callable[[VideoFile, VideoIndex | None], VideoReader]] = {"pyav": PyAVReader}


def open_video(
    video: Path | str | VideoFile, index: VideoIndex | None = None, backend: str = "pyav"
) -> VideoReader:
    """Open a video for exact frame access.

    Args:
        video: path of the file.
        index: from `index_video`; None builds it, which decodes the whole file once.
        backend: a name in `BACKENDS`.

    Raises:
        UserError: no such backend.
        BadInput: the file is missing or broken; see `index_video`.
    """
    if backend not in BACKENDS:
        raise UserError(
            f"The video backend '{backend}' is not installed: choose one of {', '.join(sorted(BACKENDS))}."
        )
    return BACKENDS[backend](video if isinstance(video, VideoFile) else VideoFile(location(video)), index)


def open_demonstration(video: VideoInput, backend: str = "pyav") -> VideoReader:
    """Open a demonstration's video with the index stored in its row, without decoding it anew.

    Frame i is the demonstration's frame i. `timestamps` of the reader are the container's; the recorder's
    clock is `video.demonstration.timestamps`.
    """
    row = video.demonstration
    file = VideoFile(video.video_path)
    container, stream = file.open()
    with container:
        time_base = stream.time_base
    assert time_base is not None
    index = VideoIndex(row.pts, row.keyframes, time_base, row.width, row.height, row.codec, row.fps)
    return open_video(file, index, backend)
