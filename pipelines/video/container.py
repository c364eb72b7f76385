"""Opening a container, and what its header promises about the video inside."""

import io
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from data_schemas.errors import BadInput
from data_schemas.storage import on_disk

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

FORMATS = (
    "mov,mp4,m4v,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,gif,apng,ogg,mxf,dv,nut,yuv4mpegpipe,"
    "h264,hevc,obu,ivf,wav"
)
"""FFmpeg's names of the formats that are opened. All hold what they show; playlists (HLS, DASH, ffconcat), series of
pictures and the like read other files, by paths or addresses that whoever wrote them has chosen, or never end. Tracks
that QuickTime keeps in other files stay closed by FFmpeg's default. WAV is here so that sound alone is named as such."""


class VideoFile:
    """A video file to be opened any number of times; one in an object store is copied to disk once for all of them.

    The copy has no name and is gone as soon as nothing reads it any more.

    Raises:
        BadInput: `missing_file`.
        OSError: the store or the disk refuses; that says nothing of the video, and another time it may not.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise BadInput("missing_file", f"{path.name} is not there.", retryable=True)
        self.path = path
        self._on_disk = on_disk(path)

    @property
    def name(self) -> str:
        return self.path.name

    def open(self) -> tuple[InputContainer, VideoStream]:
        """Open the container and its first video stream; the caller closes the container.

        The stream decodes on one thread: a worker is one core, more workers scale the decoding, and damage is
        reported with the frame it belongs to.

        Raises:
            BadInput: `truncated_video` (an MP4 or QuickTime file cut before its table of frames), `unreadable_video`
                (also what is not of `FORMATS`), `no_video_stream`, `unsupported_codec`.
        """
        name, source = self.name, self._on_disk
        try:
            file = source if isinstance(source, str) else _View(source)
            container = av.open(file, "r", options={"format_whitelist": FORMATS})
        except av.FFmpegError as error:
            missing = _missing_bytes(self.path)
            if missing:
                raise BadInput("truncated_video", f"{name} is cut: {missing}.") from error
            raise BadInput(
                "unreadable_video",
                f"{name} is no video that can be opened ({type(error).__name__}): expected a file that holds its "
                "pictures itself, such as MP4, Matroska or AVI; a playlist does not.",
            ) from error
        stream = container.streams.best("video")  # which is never a cover picture
        if not isinstance(stream, VideoStream) or stream.codec_context is None:
            container.close()
            if stream is None:
                raise BadInput("no_video_stream", f"{name} has no video stream.")
            raise BadInput("unsupported_codec", f"{name} uses a codec that this FFmpeg cannot decode.")
        stream.codec_context.thread_count = 1
        return container, stream


def open_stream(path: Path) -> tuple[InputContainer, VideoStream]:
    """Open a file once; see `VideoFile`."""
    return VideoFile(path).open()


class _View(io.RawIOBase):
    """A file read from a place of its own, so that several containers can be open on it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._position = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        size = os.fstat(self._file.fileno()).st_size
        self._position = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: size}[whence] + offset
        return self._position

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        count = os.preadv(self._file.fileno(), [buffer], self._position)
        self._position += count
        return count


def promised_frames(container: InputContainer, stream: VideoStream) -> int | None:
    """Frames to be shown according to the header, or None where the container does not count them.

    MP4 and QuickTime list every sample; those outside the edit list are read but not shown. AVI counts intervals of
    time, of which some may hold no frame; its table at the end of the file lists the frames.
    """
    if not stream.frames:
        return None
    if "mp4" in container.format.name:
        return sum(not entry.is_discard for entry in stream.index_entries)
    if container.format.name == "avi":
        steps = np.diff([*(entry.timestamp for entry in stream.index_entries), stream.frames])
        if len(steps) > 1 and steps[-1] <= steps[:-1].max():  # else the table is cut off, or a part of it
            return len(steps)
    return stream.frames


def promised_seconds(container: InputContainer) -> float | None:
    """Duration by the header; None where other streams (audio) may be the reason for it."""
    if container.duration is None or len(container.streams) > 1:
        return None
    return container.duration / av.time_base


def _missing_bytes(path: Path) -> str:
    """Say which top-level box of an ISO media file runs past the end of the file, if one does."""
    size, offset = path.stat().st_size, 0
    with path.open("rb") as file:
        while offset + 8 <= size:
            file.seek(offset)
            length, kind = struct.unpack(">I4s", file.read(8))
            if offset == 0 and kind not in (b"ftyp", b"wide", b"moov", b"mdat", b"free", b"skip"):
                return ""
            if length == 1:
                length = int.from_bytes(file.read(8), "big")
            if length < 8:
                return ""
            if offset + length > size:
                return f"its {kind.decode('latin-1')} box needs {offset + length} bytes, the file has {size}"
            offset += length
    return ""
