"""Videos whose frames carry their own number, so that no decoder has to be trusted about which frame it gave."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.stream import VideoStream

BITS = 12
BLOCK = 16
WIDTH, HEIGHT = BITS * BLOCK, 64

MakeVideo = Callable[..., Path]


def draw(number: int) -> np.ndarray:
    """(HEIGHT, WIDTH, 3) uint8: the number in black and white blocks over a moving texture."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    texture = 128 + 60 * np.sin((x + 3 * number) / 9) * np.cos((y - 2 * number) / 7)
    picture = np.stack([texture, np.roll(texture, number, 1), texture[::-1]], -1).astype(np.uint8)
    for bit in range(BITS):
        picture[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 if number >> bit & 1 else 0
    return picture


def number_in(frame: np.ndarray) -> int:
    """The number that `draw` put into a frame."""
    centre = slice(BLOCK // 4, 3 * BLOCK // 4)
    blocks = frame[:BLOCK].mean(-1).reshape(BLOCK, BITS, BLOCK)[centre, :, centre].mean((0, 2))
    return sum(1 << bit for bit in range(BITS) if blocks[bit] > 127)


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
    """Encode frames 0, 1, 2, … to a file; frame i carries i."""

    def make(
        name: str,
        *,
        count: int = 60,
        codec: str = "libx264",
        options: dict[str, str] | None = None,
        pts: Sequence[int] | None = None,
        time_base: Fraction = Fraction(1, 30),
        rotation: int = 0,
        display_matrix: Sequence[int] | None = None,
        mux: dict[str, str] | None = None,
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w", options=mux or {}) as container:
            stream = container.add_stream(
                codec, rate=Fraction(1) / time_base if pts is None else 30, options=options or {}
            )
            assert isinstance(stream, VideoStream)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.codec_context.time_base = time_base
            stream.codec_context.thread_count = 1
            if rotation:
                stream.set_display_rotation(rotation)
            if display_matrix:
                stream.set_display_matrix(display_matrix)
            for i in range(count):
                frame = av.VideoFrame.from_ndarray(draw(i), format="rgb24")
                frame.pts = i if pts is None else int(pts[i])
                frame.time_base = time_base
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make
