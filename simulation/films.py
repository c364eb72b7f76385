"""Films of closed-loop rollouts: both cameras side by side with the instruction, and a contact sheet of stills."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from simulation.rh20t_writer import write_video

BAR = 22  # pixels of the line of text
BACKGROUND, INK = (24, 24, 26), (235, 235, 235)
RUNNING, SUCCESS, FAILURE = (110, 110, 116), (46, 160, 67), (207, 63, 53)
GAP = 4


def picture(
    third_view: np.ndarray, wrist: np.ndarray, instruction: str, success: bool | None = None
) -> np.ndarray:
    """One frame (S + 22, 2 S, 3): third view, wrist view, and a bar that turns green or red when `success` is known."""
    both = np.concatenate([third_view, wrist], axis=1)
    colour = RUNNING if success is None else SUCCESS if success else FAILURE
    bar = Image.new("RGB", (both.shape[1], BAR), BACKGROUND)
    draw = ImageDraw.Draw(bar)
    draw.rectangle((0, 0, 7, BAR), fill=colour)
    verdict = "" if success is None else "  success" if success else "  failure"
    draw.text((14, 5), instruction + verdict, fill=INK if success is None else colour)
    return np.concatenate([np.asarray(bar), both])


class Film:
    """Collects the frames of one rollout; any observation with both pictures and an instruction will do."""

    def __init__(self) -> None:
        self._views: list[tuple[np.ndarray, np.ndarray, str]] = []
        self._success: bool | None = None

    def add(self, observation, success: bool | None = None) -> None:
        """Add a moment; give `success` with the last one."""
        self._views.append((observation.third_view, observation.wrist, observation.instruction))
        self._success = success

    def frames(self, linger: int = 8) -> np.ndarray:
        """Frames (T + linger, S + 22, 2 S, 3) uint8; the last one is repeated with the verdict."""
        frames = [picture(*view) for view in self._views]
        return np.array(frames + [picture(*self._views[-1], self._success)] * linger)

    def save(self, path: Path) -> None:
        """Write an mp4 (H.264) at the control rate."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, self.frames())

    def stills(self, count: int) -> np.ndarray:
        """`count` moments at equal distances, the last with the verdict, stacked downwards: (count, H, W, 3)."""
        frames = self.frames(linger=1)
        return frames[np.linspace(0, len(frames) - 1, count).round().astype(int)]


def contact_sheet(films: Sequence[Film], path: Path, stills: int = 8) -> None:
    """Write a PNG with one column a film, time running downwards."""
    columns = [film.stills(stills) for film in films]
    height, width = columns[0].shape[1:3]
    sheet = np.full((stills * (height + GAP), len(films) * (width + GAP), 3), 255, np.uint8)
    for c, column in enumerate(columns):
        for r, still in enumerate(column):
            y, x = r * (height + GAP), c * (width + GAP)
            sheet[y : y + height, x : x + width] = still
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(path)
