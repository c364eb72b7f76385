"""Contact sheets: aligned frames side by side with the cues drawn in and frame numbers burnt in.

A pair is shown on the robot's time line: robot above, human below, so that a wrong alignment is seen as two
columns that do different things.
"""

import base64
import io
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from data_schemas.pairs import Alignment
from pipelines.inputs import Annotated
from pipelines.quality.report.palette import OBJECT, WRIST
from pipelines.video import open_demonstration

TILE_HEIGHT = 190
TRAIL = 12
"""Frames of the wrist's past that are drawn behind it."""


def pair_sheet(
    human: Annotated, robot: Annotated, alignment: Alignment | None, columns: int = 8
) -> np.ndarray:
    """Robot row above human row at `columns` moments of robot time, (H, W, 3) uint8 RGB.

    Without an alignment both clips are shown at the same shares of their own length.

    Raises:
        BadInput: a raw video is not there or broken.
    """
    robot_frames = moments(robot.demonstration.num_frames, columns)
    if alignment is not None:
        human_frames = alignment.human_index[robot_frames]
    else:
        human_frames = moments(human.demonstration.num_frames, columns)
    return stack_rows([clip_row(robot, robot_frames), clip_row(human, human_frames)])


def picture_source(picture: np.ndarray) -> str:
    """`data:` address of an (H, W, 3) uint8 RGB picture as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=86, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def clip_row(clip: Annotated, frames: Sequence[int] | np.ndarray) -> np.ndarray:
    """One row of frames of one clip with its cues, (TILE_HEIGHT, W, 3).

    Raises:
        BadInput: the raw video is not there or broken.
    """
    with open_demonstration(clip) as video:
        pictures = video.frames([int(i) for i in frames])
    tiles = [_tile(picture, int(i), clip) for picture, i in zip(pictures, frames, strict=True)]
    gap = np.full((TILE_HEIGHT, 3, 3), 255, np.uint8)
    return np.concatenate([part for tile in tiles for part in (tile, gap)][:-1], axis=1)


def stack_rows(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows one above the other; wider ones are scaled down to the width of the narrowest."""
    width = min(row.shape[1] for row in rows)
    scaled = [
        cv2.resize(row, (width, round(row.shape[0] * width / row.shape[1])), interpolation=cv2.INTER_AREA)
        for row in rows
    ]
    gap = np.full((3, width, 3), 255, np.uint8)
    return np.concatenate([part for row in scaled for part in (row, gap)][:-1], axis=0)


def moments(num_frames: int, columns: int) -> np.ndarray:
    """Evenly spread frame numbers, first and last included."""
    return np.linspace(0, num_frames - 1, min(columns, num_frames)).round().astype(int)


def _tile(picture: np.ndarray, frame: int, clip: Annotated) -> np.ndarray:
    scale = TILE_HEIGHT / picture.shape[0]
    width = round(picture.shape[1] * scale)
    tile = cv2.resize(
        picture, (width, TILE_HEIGHT), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    )
    if clip.objects is not None:
        _draw_object(tile, clip.objects.points[frame] * scale, clip.objects.visible[frame])
        if frame == clip.objects.box_frame:
            x0, y0, x1, y1 = (clip.objects.box * scale).round().astype(int).tolist()
            cv2.rectangle(tile, (x0, y0), (x1, y1), _rgb(OBJECT), 1, cv2.LINE_AA)
    if clip.wrist is not None:
        _draw_wrist(tile, clip.wrist.points * scale, clip.wrist.visible, frame)
    _burn_in(tile, str(frame))
    return tile


def _draw_object(tile: np.ndarray, points: np.ndarray, visible: np.ndarray) -> None:
    for point, seen in zip(points, visible, strict=True):
        if np.isfinite(point).all():
            centre = _pixel(point)
            cv2.circle(tile, centre, 3, (255, 255, 255), -1 if seen else 1, cv2.LINE_AA)
            if seen:
                cv2.circle(tile, centre, 2, _rgb(OBJECT), -1, cv2.LINE_AA)


def _draw_wrist(tile: np.ndarray, points: np.ndarray, visible: np.ndarray, frame: int) -> None:
    past = range(max(1, frame - TRAIL), frame + 1)
    for i in past:
        if visible[i - 1] and visible[i]:
            cv2.line(tile, _pixel(points[i - 1]), _pixel(points[i]), _rgb(WRIST), 1, cv2.LINE_AA)
    if visible[frame]:
        cv2.circle(tile, _pixel(points[frame]), 5, (255, 255, 255), 2, cv2.LINE_AA)
        cv2.circle(tile, _pixel(points[frame]), 4, _rgb(WRIST), -1, cv2.LINE_AA)


def _burn_in(tile: np.ndarray, text: str) -> None:
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)
    cv2.rectangle(tile, (0, 0), (width + 7, height + 8), (20, 24, 32), -1)
    cv2.putText(tile, text, (4, height + 4), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)


def _pixel(point: np.ndarray) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
