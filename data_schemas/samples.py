"""Layout of one WebDataset sample: a segment of at most 64 frames on the robot's time line.

Members of a sample with key `k` (the standard `webdataset` library reads them):

| member | content |
|---|---|
| `k.json` | `SampleInfo` |
| `k.cues.npz` | arrays named `{side}_{cue}`, see `CUE_ARRAYS` |
| `k.robot.{i:04d}.jpg`, `k.human.{i:04d}.jpg` | 224×224 JPEG frames, i counts from 0 in the segment |
| `k.actions.npz` | robot data only: `end_effector_pose` (N, 7) x y z m + quaternion wxyz in the camera frame, `gripper_width` (N,) m; NaN where unknown, as in a gap of the recording |

`side` is `robot` or `human`. In a pair, human arrays and frames are already resampled to the robot's time
line, so row i of both sides belong together; a sample without partner has one side only.
"""

from dataclasses import dataclass
from typing import ClassVar

from data_schemas.row import Row
from data_schemas.strict_model import StrictModel

MAX_SEGMENT_FRAMES = 64
FRAME_SIZE = 224

CUE_ARRAYS = {
    "time": "(N,) float64 seconds on the side's own clock",
    "frame_index": "(N,) int64 frame of the original video",
    "frame_size": "(2,) int64 width, height of the original frame: divide cues by it to get [0, 1]",
    "wrist": "(N, 2) float32 pixels of the original frame, NaN where unknown",
    "wrist_visibility": "(N,) float32 probability",
    "wrist_visible": "(N,) bool",
    "object": "(N, N_K, 2) float32 pixels of the original frame, NaN where unknown",
    "object_visibility": "(N, N_K) float32 probability",
    "object_visible": "(N, N_K) bool",
}


class SampleInfo(StrictModel):
    """Content of `{key}.json`."""

    key: str
    kind: str
    """`pair`, `human` or `robot`."""
    split: str
    """`train` or `held_out`; all segments of a subject share it."""
    dataset: str
    subject_id: str
    """Pair id, or demonstration id of a single demonstration."""
    human_id: str | None
    robot_id: str | None
    instruction: str
    task: str
    fps: float
    """Of the time line (the robot's in a pair)."""
    license: str
    segment: int
    num_segments: int
    num_frames: int
    num_keypoints: int


@dataclass(frozen=True)
class SampleIndex(Row):
    """One row of a version's `index.parquet`: where a sample's bytes lie, and what one filters by."""

    TABLE: ClassVar[str] = "index"

    key: str
    shard: str
    """Path of the tar relative to the lake's root."""
    offset: int
    """First byte of the sample's first tar header."""
    num_bytes: int
    kind: str
    split: str
    dataset: str
    subject_id: str
    instruction: str
    task: str
    fps: float
    segment: int
    num_segments: int
    num_frames: int
