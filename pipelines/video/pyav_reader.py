"""Exact frames by PyAV: seek to the key frame before, decode forward, recognize the frame by its pts.

A seek never says where it landed; some land too late (key frames closer together than the reordering depth,
containers without a table). The frames that come out carry their pts, so that a late landing is seen and the
seek repeated from one key frame earlier, and at last from the start of the file. No frame is ever counted.

*Convention*: RGB, uint8, turned and mirrored as the container says; pixel (x, y) is `frame[y, x]`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Self

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame

from data_schemas.errors import BadInput
from pipelines.video.container import VideoFile
from pipelines.video.index import VideoIndex, index_video
from pipelines.video.orientation import orientation

TIME_TOLERANCE = 1e-6
"""Seconds: a time computed as i / fps means frame i although rounding may put it just before."""


class PyAVReader:
    """Random access to the frames of one video; see `pipelines.video.reader.VideoReader`."""

    def __init__(self, file: VideoFile, index: VideoIndex | None) -> None:
        self.index = index or index_video(file)
        self._file = file
        self._container: InputContainer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
            self._container = None

    def __len__(self) -> int:
        return len(self.index)

    @property
    def width(self) -> int:
        return self.index.width

    @property
    def height(self) -> int:
        return self.index.height

    @property
    def fps(self) -> float:
        return self.index.fps

    @property
    def timestamps(self) -> np.ndarray:
        return self.index.timestamps

    def frames(self, indices: Iterable[int]) -> np.ndarray:
        wanted = np.asarray(list(indices), dtype=np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"frames {wanted.min()}..{wanted.max()} of a video of {len(self)} frames")
        out = np.empty((len(wanted), self.height, self.width, 3), np.uint8)
        unique, which = np.unique(wanted, return_inverse=True)
        places: dict[int, list[int]] = {i: [] for i in unique.tolist()}
        for place, k in enumerate(which):
            places[int(unique[k])].append(place)
        for run in self._runs(unique):
            for i, frame in self._decode_from(int(run[0])):
                if i in places:
                    out[places[i]] = self._rgb(frame)
                if i == run[-1]:
                    break
        return out

    def at(self, times: Iterable[float]) -> np.ndarray:
        seconds = np.asarray(list(times), dtype=np.float64)
        if not np.isfinite(seconds).all():
            raise ValueError("times to read frames at must be finite")
        shown = np.searchsorted(self.timestamps, seconds + TIME_TOLERANCE, side="right") - 1
        return self.frames(np.maximum(shown, 0))

    def iter_frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        stop = len(self) if stop is None else min(stop, len(self))
        if start >= stop:
            return
        # A container of its own: `frames` may be called while the iteration is under way.
        with PyAVReader(self._file, self.index) as own:
            for i, frame in own._decode_from(start):
                yield self._rgb(frame)
                if i + 1 >= stop:
                    return

    def _runs(self, unique: np.ndarray) -> Sequence[np.ndarray]:
        """Split sorted frame indices at every key frame that does not directly follow the frame before.

        A seek costs less than decoding one unwanted frame (AV1, 640x480, a key frame every second frame,
        every 4th frame read: 221 ms with a seek each, 439 ms when gaps up to 4 frames were decoded through).
        """
        if not unique.size:
            return []
        group = np.searchsorted(self.index.keyframes, unique, side="right")
        key = np.concatenate([[0], self.index.keyframes])[group]
        return np.split(unique, np.flatnonzero(key[1:] - unique[:-1] > 1) + 1)

    def _decode_from(self, first: int) -> Iterator[tuple[int, VideoFrame]]:
        """All frames from display index `first` on, with their indices."""
        pts = self.index.pts
        keys = self.index.keyframes[self.index.keyframes <= first][-2:][::-1]
        for key in [*keys, None]:
            frames = self._decode(None if key is None else int(pts[key]))
            frame = next(frames, None)
            # After a seek some demuxers guess the pts: one that is not in the index tells of no place.
            if key is None or (frame is not None and frame.pts <= pts[keys[0]] and frame.pts in pts):
                break
        i = first
        while frame is not None and i < len(self) and frame.pts <= pts[i]:
            if frame.pts == pts[i]:
                yield i, frame
                i += 1
            frame = next(frames, None)
        if i < len(self):
            raise BadInput(
                "video_changed",
                f"{self._file.name} does not give frame {i} of the {len(self)} it was indexed with: "
                "it was replaced or damaged since, ingest it anew.",
            )

    def _decode(self, target: int | None) -> Iterator[VideoFrame]:
        """Decode from the key frame at time stamp `target`, or from the start of the file for None."""
        if target is None or self._container is None:
            self.close()
            self._container, self._stream = self._file.open()
        try:
            if target is not None:
                self._container.seek(target, stream=self._stream)
            for packet in self._container.demux(self._stream):
                try:
                    yield from packet.decode()
                except av.FFmpegError:
                    continue  # depends on what lies before the key frame
        except av.FFmpegError:
            return  # cannot seek, or the file ends: the caller misses its frame

    @staticmethod
    def _rgb(frame: VideoFrame) -> np.ndarray:
        # On a thread of its own for every core, as PyAV would, a small frame takes four times as long.
        return orientation(frame).upright(frame.to_ndarray(format="rgb24", threads=1))
