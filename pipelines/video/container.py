"""Opening a container, and what its header promises about the video inside."""

import struct
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from data_schemas.errors import BadInput
from data_schemas.storage import on_disk

FORMATS = (
    "mov,mp4,m4v,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,gif,apng,ogg,mxf,dv,nut,yuv4mpegpipe,"
    "h264,hevc,obu,ivf,wav"
)
"""FFmpeg's names of the formats that are opened. All hold what they show; playlists (HLS, DASH, ffconcat), series of
pictures and the like read other files, by paths or addresses that whoever wrote them has chosen, or never end. Tracks
that QuickTime keeps in other files stay closed by FFmpeg's default. WAV is here so that sound alone is named as such."""


def open_stream(path: Path) -> tuple[InputContainer, VideoStream]:
    """Open a file and its first video stream; the caller closes the container.

    The stream decodes on one thread: a worker is one core, more workers scale the decoding, and damage is
    reported with the frame it belongs to.

    Raises:
        BadInput: `missing_file`, `truncated_video` (an MP4 or QuickTime file cut before its table of
            frames), `unreadable_video` (also what is not of `FORMATS`), `no_video_stream`, `unsupported_codec`.
    """
    if not path.is_file():
        raise BadInput("missing_file", f"{path.name} is not there.", retryable=True)
    try:
        container = av.open(on_disk(path), "r", options={"format_whitelist": FORMATS})
    except (av.FFmpegError, OSError) as error:
        missing = _missing_bytes(path)
        if missing:
            raise BadInput("truncated_video", f"{path.name} is cut: {missing}.") from error
        raise BadInput(
            "unreadable_video",
            f"{path.name} is no video that can be opened ({type(error).__name__}): expected a file that holds its "
            "pictures itself, such as MP4, Matroska or AVI; a playlist does not.",
        ) from error
    stream = container.streams.best("video")  # which is never a cover picture
    if not isinstance(stream, VideoStream) or stream.codec_context is None:
        container.close()
        if stream is None:
            raise BadInput("no_video_stream", f"{path.name} has no video stream.")
        raise BadInput("unsupported_codec", f"{path.name} uses a codec that this FFmpeg cannot decode.")
    stream.codec_context.thread_count = 1
    return container, stream


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
