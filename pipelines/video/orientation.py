"""How the pictures of a video are turned and mirrored before they are shown: phones store them as the sensor lies."""

from typing import NamedTuple

import numpy as np
from av.video.frame import VideoFrame


class Orientation(NamedTuple):
    """One of the eight ways in which a picture fills a rectangle: transposed first, then mirrored."""

    transposed: bool = False
    left_right: bool = False
    up_down: bool = False

    def upright(self, picture: np.ndarray) -> np.ndarray:
        """The picture (H, W, C) as it is shown; a view."""
        if self.transposed:
            picture = picture.swapaxes(0, 1)
        return picture[:: -1 if self.up_down else 1, :: -1 if self.left_right else 1]

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height as shown."""
        return (height, width) if self.transposed else (width, height)


def orientation(frame: VideoFrame) -> Orientation:
    """What the container asks for, to the next quarter turn.

    Its display matrix takes a stored point (x, y) to (a x + c y, b x + d y) as shown (ISO/IEC 14496-12, 6.2.2).
    """
    stored = frame.side_data.get("DISPLAYMATRIX")
    if stored is None:
        return Orientation()
    # PyAV's stubs know of motion vectors only.
    values = np.frombuffer(stored, np.int32)  # pyrefly: ignore[no-matching-overload]
    (a, b), (c, d) = values.reshape(3, 3)[:2, :2].tolist()
    if abs(b) > abs(a):
        return Orientation(transposed=True, left_right=c < 0, up_down=b < 0)
    return Orientation(left_right=a < 0, up_down=d < 0)
