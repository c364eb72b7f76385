"""Boxes of hands by handtrack's detector, which also knows hands that hold, pinch and point.

MediaPipe's palm detector was made for open hands before a webcam and misses hands that hold something. This
single-shot detector (MobileNetV2 with a feature pyramid, 320 × 320) gives boxes without direction; the landmark
network decides whether there is a hand, and which way it points.
"""

from pathlib import Path

import cv2
import numpy as np
import torch

from pipelines.wrists.base import HandBox
from pipelines.wrists.tfjs_graph import TfjsGraph

SIDE = 320
FEED = "StatefulPartitionedCall/map/TensorArrayV2Stack/TensorListStack"
"""The picture after the graph's own resizing loop: (1, 320, 320, 3) from -1 to 1."""
OUTPUTS = (
    "StatefulPartitionedCall/Postprocessor/ExpandDims_1",
    "StatefulPartitionedCall/Postprocessor/Slice",
)
"""Boxes (1, 12804, 1, 4) y0 x0 y1 x1 from 0 to 1, and scores (1, 12804, 7)."""
HANDS = 4
"""The first classes are hands (open, fist, pinching, pointing); face and finger tips follow."""
MAX_OVERLAP = 0.4


class HandProposals:
    """Hands of a single frame, as boxes."""

    def __init__(self, folder: Path, min_score: float) -> None:
        self._graph = TfjsGraph(folder / "handtrack.json", FEED, OUTPUTS)
        self._min_score = min_score

    def __call__(self, frame: np.ndarray) -> list[HandBox]:
        """Boxes of `frame` (H, W, 3) uint8 RGB, best first; of those that overlap, the best."""
        height, width = frame.shape[:2]
        small = cv2.resize(frame, (SIDE, SIDE)).astype(np.float32) / 127.5 - 1
        boxes, scores = self._graph(torch.from_numpy(small)[None])
        best = scores[0, :, :HANDS].amax(dim=1).numpy()
        likely = best > self._min_score
        corners = boxes.reshape(-1, 4).numpy()[likely] * [height, width, height, width]
        rectangles = [[x0, y0, x1 - x0, y1 - y0] for y0, x0, y1, x1 in corners.tolist()]
        if not rectangles:
            return []
        kept = cv2.dnn.NMSBoxes(rectangles, best[likely].tolist(), self._min_score, MAX_OVERLAP)
        return [
            HandBox(np.array([x + w / 2, y + h / 2]) - 0.5, max(w, h), float(best[likely][i]))
            for i in np.ravel(kept).tolist()
            for x, y, w, h in [rectangles[i]]
        ]
