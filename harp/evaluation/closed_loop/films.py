"""Films of rollouts: both cameras side by side with the instruction, and a contact sheet of stills."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw

from data_schemas.whole_files import replacing
from harp.evaluation.environment import Observation

BAR = 22  # pixels of the line of text
BACKGROUND, INK = (24, 24, 26), (235, 235, 235)
RUNNING, SUCCESS, FAILURE = (110, 110, 116), (46, 160, 67), (207, 63, 53)
GAP = 4
LINGER = 8  # repetitions of the last frame
MAX_FRAMES = 80
"""Of a film: of a long rollout every second moment is rendered, or every third, which cost more than the policy."""


def picture(
    third_view: np.ndarray, wrist: np.ndarray, instruction: str, success: bool | None = None
) -> np.ndarray:
    """One frame (S + 22, 2 S, 3): third view (S, S, 3), wrist view scaled to it, and a bar with the verdict, if known."""
    size = third_view.shape[0]
    beside = np.asarray(Image.fromarray(wrist).resize((size, size)))
    both = np.concatenate([third_view, beside], axis=1)
    colour = RUNNING if success is None else SUCCESS if success else FAILURE
    bar = Image.new("RGB", (both.shape[1], BAR), BACKGROUND)
    draw = ImageDraw.Draw(bar)
    draw.rectangle((0, 0, 7, BAR), fill=colour)
    verdict = "" if success is None else "  success" if success else "  failure"
    draw.text((14, 5), instruction + verdict, fill=INK if success is None else colour)
    return np.concatenate([np.asarray(bar), both])


def film(observations: Sequence[Observation], success: bool) -> np.ndarray:
    """Frames (T, S + 22, 2 S, 3) uint8 of some moments, and the last one again with the verdict."""
    frames = [picture(one.third_view, one.wrist, one.instruction) for one in observations]
    last = observations[-1]
    return np.array([*frames, picture(last.third_view, last.wrist, last.instruction, success)])


def film_rollout(path: Path, observations: Sequence[Observation], success: bool, rate: float) -> None:
    """Write the film of a whole rollout, in real time.

    Args:
        rate: control steps a second.
    """
    stride = -(-len(observations) // MAX_FRAMES)
    shown = observations[::-1][::stride][::-1]  # the last moment is among them
    write_film(path, film(shown, success), rate / stride)


def write_film(path: Path, frames: np.ndarray, rate: float) -> None:
    """Write an mp4 (H.264) that browsers play; it appears when it is complete, and lingers on its last frame."""
    height, width = (side - side % 2 for side in frames.shape[1:3])  # 4:2:0 needs even sides
    with replacing(path) as draft, av.open(str(draft), "w", format="mp4") as container:
        stream = container.add_stream(
            "libx264", rate=Fraction(rate).limit_denominator(100), options={"crf": "23"}
        )
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.codec_context.thread_count = 1
        for frame in [*frames, *[frames[-1]] * LINGER]:
            image = np.ascontiguousarray(frame[:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def contact_sheet(films: Sequence[np.ndarray], path: Path, stills: int = 8) -> None:
    """Write a PNG with one column a film (T, H, W, 3) of equal size, `stills` moments at equal distances downwards."""
    height, width = films[0].shape[1:3]
    sheet = np.full((stills * (height + GAP), len(films) * (width + GAP), 3), 255, np.uint8)
    for c, frames in enumerate(films):
        for r, i in enumerate(np.linspace(0, len(frames) - 1, stills).round().astype(int)):
            y, x = r * (height + GAP), c * (width + GAP)
            sheet[y : y + height, x : x + width] = frames[i]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(path)
