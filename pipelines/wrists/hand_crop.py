"""The rotated square that the hand-landmark network looks at, and the way back to the frame.

MediaPipe turns the hand upright (fingers up) and cuts a square around it: from a palm in a new frame, or
from the landmarks of a neighbouring frame when a hand is being followed. The constants are MediaPipe's.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from pipelines.wrists.palm_detection import MIDDLE_FINGER_MCP, WRIST_CENTER, Palm

INPUT_SIDE = 224

PALM_SCALE, PALM_SHIFT = 2.6, -0.5
"""The square is 2.6 palm boxes wide and moves half a box from the wrist towards the fingers."""

LANDMARK_SCALE, LANDMARK_SHIFT = 2.0, -0.1

WRIST, INDEX_MCP, MIDDLE_MCP, RING_MCP = 0, 5, 9, 13
PALM_AND_KNUCKLES = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)
"""The landmarks that give the square; finger tips would make it jump when the hand closes."""


@dataclass(frozen=True)
class HandCrop:
    """A square of the frame, turned by `angle`.

    Attributes:
        center: (2,) pixels of the frame, pixel centres at integers.
        side: pixels of the frame.
        angle: radians from the frame's x axis to the crop's, clockwise on the screen; 0 = fingers up.
    """

    center: np.ndarray
    side: float
    angle: float

    @classmethod
    def from_palm(cls, palm: Palm) -> "HandCrop":
        """Square around the whole hand whose palm was detected."""
        angle = _upright(palm.keypoints[WRIST_CENTER], palm.keypoints[MIDDLE_FINGER_MCP])
        size = palm.box[2:] - palm.box[:2]
        shift = PALM_SHIFT * size[1] * np.array([-np.sin(angle), np.cos(angle)])
        return cls((palm.box[:2] + palm.box[2:]) / 2 + shift, float(PALM_SCALE * size.max()), angle)

    @classmethod
    def from_landmarks(cls, keypoints: np.ndarray) -> "HandCrop":
        """Square around a hand with the given (21, 2) keypoints."""
        knuckles = ((keypoints[INDEX_MCP] + keypoints[RING_MCP]) / 2 + keypoints[MIDDLE_MCP]) / 2
        angle = _upright(keypoints[WRIST], knuckles)
        turn = _rotation(angle)
        upright = keypoints[list(PALM_AND_KNUCKLES)] @ turn
        low, high = upright.min(axis=0), upright.max(axis=0)
        size = high - low
        center = (low + high) / 2 + np.array([0.0, LANDMARK_SHIFT * size[1]])
        return cls(turn @ center, float(LANDMARK_SCALE * size.max()), angle)

    def matrix(self) -> np.ndarray:
        """(2, 3) affine map from pixels of the crop image to pixels of the frame, centres at integers."""
        linear = _rotation(self.angle) * (self.side / INPUT_SIDE)
        first_pixel = np.full(2, 0.5 - INPUT_SIDE / 2)
        return np.column_stack([linear, self.center + linear @ first_pixel])

    def cut(self, frame: np.ndarray) -> np.ndarray:
        """(224, 224, 3) uint8 crop of `frame`; black where it reaches beyond the frame."""
        return cv2.warpAffine(
            frame, self.matrix(), (INPUT_SIDE, INPUT_SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )

    def to_frame(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) continuous crop coordinates (0 to 224) to pixels of the frame."""
        return self.center + (points - INPUT_SIDE / 2) @ _rotation(self.angle).T * (self.side / INPUT_SIDE)


def _upright(wrist: np.ndarray, fingers: np.ndarray) -> float:
    """Angle by which a square must turn so that the line from wrist to fingers points up in it."""
    x, y = fingers - wrist
    return float(np.arctan2(x, -y))


def _rotation(angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])
