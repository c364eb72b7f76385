"""A picture of how far two annotators are apart on one demonstration."""

from pathlib import Path

import cv2
import numpy as np

from data_schemas.cues import ObjectTrack, WristTrack
from data_schemas.demonstrations import Demonstration
from pipelines.inputs import VideoInput
from pipelines.objects.agreement import Agreement
from pipelines.video import open_demonstration

Track = WristTrack | ObjectTrack
COLOURS = ((0, 255, 255), (255, 0, 255))
"""RGB of A and B."""
TILES, TILE_WIDTH = 6, 320


def agreement_sheet(
    demonstration: Demonstration, a: Track, b: Track, agreement: Agreement, cue: str, raw_root: Path
) -> np.ndarray:
    """(h, w, 3) RGB: frames in a row, A's and B's points in two colours (hollow: hidden), worst frame first.

    Raises:
        BadInput: the raw video is not there or broken.
    """
    with open_demonstration(VideoInput(demonstration, raw_root)) as video:
        indices = np.linspace(0, len(video) - 1, TILES).round().astype(int)
        if np.isfinite(agreement.frame_distance).any():
            indices[0] = np.nanargmax(agreement.frame_distance)
        frames = video.frames(indices)
    zoom = TILE_WIDTH / demonstration.width
    tiles = []
    for index, frame in zip(indices.tolist(), frames, strict=True):
        tile = cv2.resize(frame, None, fx=zoom, fy=zoom)
        for track, colour in zip((a, b), COLOURS, strict=True):
            places = np.atleast_2d(track.points[index]) * zoom
            for (x, y), seen in zip(places.tolist(), np.atleast_1d(track.visible[index]), strict=True):
                if np.isfinite([x, y]).all():
                    cv2.circle(tile, (round(x), round(y)), 4, colour, -1 if seen else 1, cv2.LINE_AA)
        cv2.putText(tile, str(index), (5, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
        tiles.append(tile)
    sheet = np.concatenate(tiles, axis=1)
    head = np.full((26, sheet.shape[1], 3), 30, np.uint8)
    place = 6
    for text, colour in (
        (f"A {a.source}", COLOURS[0]),
        (f"B {b.source}", COLOURS[1]),
        (f"{cue}: {agreement.distance:.1f} % of the width apart", (255, 255, 255)),
        (demonstration.source, (170, 170, 170)),
    ):
        cv2.putText(head, text, (place, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
        place += cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)[0][0] + 24
    return np.concatenate([head, sheet])
