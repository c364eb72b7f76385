"""Opening a container, and what its header promises about the video inside."""

import struct
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from data_schemas.errors import BadInput


def open_container(path: Path) -> InputContainer:
    """Open a file for reading; the caller closes it.

    Raises:
        BadInput: `missing_file`, `truncated_video` (an MP4 or QuickTime file cut before its table of
            frames), `unreadable_video`.
    """
    if not path.is_file():
        raise BadInput("missing_file", f"{path.name} is not there.")
    try:
        return av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        missing = _missing_bytes(path)
        if missing:
            raise BadInput("truncated_video", f"{path.name} is cut: {missing}.") from error
        raise BadInput(
            "unreadable_video", f"{path.name} is no video that FFmpeg can open ({type(error).__name__})."
        ) from error


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """First video stream, set to decode on one thread.

    One worker is one core: workers scale the decoding, and a frame's damage is reported with that frame.

    Raises:
        BadInput: `no_video_stream`, `unsupported_codec`.
    """
    if not container.streams.video:
        raise BadInput("no_video_stream", f"{path.name} has no video stream.")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise BadInput("unsupported_codec", f"{path.name} uses a codec without decoder in this FFmpeg build.")
    stream.codec_context.thread_count = 1
    return stream


def promised_frames(container: InputContainer, stream: VideoStream) -> int | None:
    """Frames to be shown according to the header, or None where the container does not count them.

    MP4 and QuickTime list every sample; those outside the edit list are read but not shown.
    """
    if not stream.frames:
        return None
    if "mp4" in container.format.name:
        return sum(not entry.is_discard for entry in stream.index_entries)
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
