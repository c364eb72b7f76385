"""What a hand detector finds on real videos, beside another one; there is no truth, so look at the pictures.

    python -m benchmarks.cues.hands VIDEO... [--detectors mediapipe-hands mediapipe-hands+handtrack]
        [--frames 60] [--stride 3] [--pictures DIR]

Per video and detector: share of the frames in which a hand was found, in which the acting hand was, hands per frame,
and milliseconds of CPU per frame (one thread). The pictures show frames that detectors disagree about: first
detector red, second cyan.
"""

import argparse
import time
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from pipelines.video import open_video
from pipelines.wrists.association import AssociationConfig, acting_hand
from pipelines.wrists.base import Hand
from pipelines.wrists.stage import DETECTORS, WristConfig

COLOURS = ((255, 0, 0), (0, 255, 255))


def read(path: Path, count: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Every `stride`-th frame (T, H, W, 3), at most `count`, and their times (T,)."""
    with open_video(path) as video:
        frames = np.stack(list(islice(video.iter_frames(), 0, count * stride, stride)))
        return frames, video.timestamps[: count * stride : stride]


def sheet(frames: np.ndarray, found: list[list[list[Hand]]], most: int = 6) -> np.ndarray | None:
    """Up to `most` frames in which the first detector found another number of hands than the second."""
    differs = [t for t in range(len(frames)) if len(found[0][t]) != len(found[1][t])]
    tiles = []
    for t in differs[:: max(1, len(differs) // most)][:most]:
        tile = frames[t].copy()
        for hands, colour in zip((found[0][t], found[1][t]), COLOURS, strict=True):
            for hand in hands:
                for x, y in hand.keypoints.astype(int).tolist():
                    cv2.circle(tile, (x, y), 3, colour, -1)
                cv2.circle(tile, tuple(hand.wrist.astype(int).tolist()), 8, colour, 2)
        tiles.append(cv2.resize(tile, (480, round(480 * tile.shape[0] / tile.shape[1]))))
    return np.concatenate(tiles, axis=1) if tiles else None


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument(
        "--detectors", nargs="+", choices=sorted(DETECTORS), default=["mediapipe-hands", "mediapipe-hands+handtrack"]
    )  # fmt: skip
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--stride", type=int, default=3)
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    detectors = {name: DETECTORS[name](WristConfig(detector=name), 1) for name in arguments.detectors}
    table = Table(title="Hands on real videos")
    for column in ("video", "detector", "frames", "any hand", "acting hand", "hands / frame", "ms / frame"):
        table.add_column(column, justify="left" if column in ("video", "detector") else "right")
    for path in arguments.videos:
        frames, times = read(path, arguments.frames, arguments.stride)
        found = []
        for name, detector in detectors.items():
            start = time.process_time()
            hands = detector.detect(frames)
            spent = 1000 * (time.process_time() - start) / len(frames)
            acting = acting_hand(hands, times, AssociationConfig())
            found.append(hands)
            table.add_row(
                path.stem, name, str(len(frames)),
                f"{np.mean([bool(h) for h in hands]):.0%}", f"{len(acting) / len(frames):.0%}",
                f"{np.mean([len(h) for h in hands]):.2f}", f"{spent:.1f}",
            )  # fmt: skip
        if arguments.pictures and len(found) > 1 and (picture := sheet(frames, found)) is not None:
            arguments.pictures.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(arguments.pictures / f"{path.stem}.jpg"), picture[..., ::-1])
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
