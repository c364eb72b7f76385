"""Arrays of a segment: one side's cues, and the robot's actions at the frames' times.

Convention: pixels (x, y) of the original frame; camera frame x right, y down, z forward, metres; quaternions
wxyz; seconds. What is unknown is NaN and not visible.
"""

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from data_schemas.demonstrations import Demonstration
from data_schemas.errors import BadInput
from pipelines.inputs import Annotated
from pipelines.interpolation import neighbours


def side_arrays(clip: Annotated, frame_index: np.ndarray, num_keypoints: int) -> dict[str, np.ndarray]:
    """Arrays of `data_schemas.samples.CUE_ARRAYS` for the given frames of one side.

    Args:
        frame_index: (N,) frames of the original video, repeats allowed.
        num_keypoints: N_K of every sample of the shard; a track with fewer is filled up with unseen points.

    Raises:
        BadInput: `frame_out_of_range`, `track_length` (cues of another number of frames), `too_many_keypoints`.
    """
    video = clip.demonstration
    _require(
        frame_index.size == 0 or 0 <= frame_index.min() <= frame_index.max() < video.num_frames,
        "frame_out_of_range",
        f"frames {frame_index.min(initial=0)} to {frame_index.max(initial=0)} of {video.num_frames}",
    )
    wrist = np.full((video.num_frames, 2), np.nan, np.float32)
    wrist_visibility = np.zeros(video.num_frames, np.float32)
    wrist_visible = np.zeros(video.num_frames, bool)
    if clip.wrist is not None:
        _require_length(clip.wrist.points, video, "wrist track")
        wrist, wrist_visibility, wrist_visible = clip.wrist.points, clip.wrist.visibility, clip.wrist.visible

    points = np.full((video.num_frames, num_keypoints, 2), np.nan, np.float32)
    visibility = np.zeros((video.num_frames, num_keypoints), np.float32)
    visible = np.zeros((video.num_frames, num_keypoints), bool)
    if clip.objects is not None:
        _require_length(clip.objects.points, video, "object track")
        k = clip.objects.num_keypoints
        _require(k <= num_keypoints, "too_many_keypoints", f"{k} keypoints, the shards hold {num_keypoints}")
        points[:, :k], visibility[:, :k] = clip.objects.points, clip.objects.visibility
        visible[:, :k] = clip.objects.visible

    i = frame_index
    return {
        "time": video.timestamps[i].astype(np.float64),
        "frame_index": i.astype(np.int64),
        "frame_size": np.array([video.width, video.height], np.int64),
        "wrist": wrist[i].astype(np.float32),
        "wrist_visibility": wrist_visibility[i].astype(np.float32),
        "wrist_visible": wrist_visible[i].astype(bool),
        "object": points[i],
        "object_visibility": visibility[i],
        "object_visible": visible[i],
    }


def action_arrays(robot: Demonstration, times: np.ndarray, max_gap_s: float) -> dict[str, np.ndarray]:
    """End-effector pose (N, 7) and gripper width (N,) at times (N,) in seconds.

    NaN outside of the recording and between readings that are more than `max_gap_s` apart.
    """
    poses, widths = robot.effector_poses, robot.gripper_widths
    return {
        "end_effector_pose": _interpolate_poses(robot.effector_times, poses, times, max_gap_s),
        "gripper_width": _interpolate(robot.gripper_times, widths[:, None], times, max_gap_s)[:, 0],
    }


def _interpolate_poses(
    pose_times: np.ndarray, poses: np.ndarray, times: np.ndarray, max_gap_s: float
) -> np.ndarray:
    """Positions linearly, orientations along the shortest arc, w >= 0. A pose with a NaN makes its neighbourhood NaN."""
    poses = poses.reshape(-1, 7)
    broken = ~np.isfinite(poses).all(axis=1, keepdims=True)
    result = np.full((len(times), 7), np.nan)
    result[:, :3] = _interpolate(pose_times, np.where(broken, np.nan, poses[:, :3]), times, max_gap_s)
    known = np.isfinite(result[:, 0])
    if known.any():
        distinct, first = np.unique(pose_times, return_index=True)
        quaternions = np.where(broken, [1.0, 0.0, 0.0, 0.0], poses[:, 3:])[first]
        rotations = Rotation.from_quat(quaternions, scalar_first=True)
        if len(distinct) > 1:
            rotations = Slerp(distinct, rotations)(times[known])
        result[known, 3:] = rotations.as_quat(canonical=True, scalar_first=True)
    return result


def _interpolate(
    sample_times: np.ndarray, samples: np.ndarray, times: np.ndarray, max_gap_s: float
) -> np.ndarray:
    """(M,), (M, D), (N,) -> (N, D)."""
    if not len(sample_times):
        return np.full((len(times), samples.shape[1]), np.nan)
    *_, known = neighbours(sample_times, times, max_gap_s)
    columns = [np.interp(times, sample_times, column) for column in samples.T]
    return np.where(known[:, None], np.stack(columns, axis=1), np.nan)


def _require_length(track: np.ndarray, video: Demonstration, name: str) -> None:
    _require(
        len(track) == video.num_frames,
        "track_length",
        f"{name} of {len(track)} frames, video of {video.num_frames}",
    )


def _require(condition: bool, reason: str, detail: str) -> None:
    if not condition:
        raise BadInput(reason, detail)
