"""Render a successful demonstration into a clip with its ground truth."""

from dataclasses import dataclass

import numpy as np

from simulation.appearance import Tone
from simulation.content import Content
from simulation.embodiment import Embodiment
from simulation.ground_truth import (
    GroundTruth,
    root_quaternion,
    to_camera,
    unoccluded,
    visible_keypoints,
    world_points,
)
from simulation.objects import outline_points, surface_points
from simulation.rendering import Renderer, camera_pose, intrinsics, project, restore
from simulation.rollout import RobotState, Rollout

WRIST_DEPTH = 0.06  # metres of flesh or gripper that may lie between the camera and the wrist or TCP


@dataclass(frozen=True)
class Clip:
    """One clip: frames (T, S, S, 3) uint8, times (T,) seconds from the motion's start, states, truth."""

    frames: np.ndarray
    times: np.ndarray
    states: list[RobotState]
    truth: GroundTruth


def record(
    body: Embodiment, content: Content, rollout: Rollout, *, renderer: Renderer, tone: Tone, size: int
) -> Clip:
    """Render every moment of `rollout` with the look the model has now.

    Args:
        body: the embodiment that made the rollout, with its appearance set.
        content: what it did.
        rollout: the recorded moments.
        renderer: of the embodiment's model, of the same size.
        tone: put on every frame.
        size: width and height, pixels.
    """
    K = intrinsics(size)
    points, outline = surface_points(content.object), outline_points(content.object)
    frames = []
    rows: dict[str, list[np.ndarray]] = {}
    T = np.eye(4)
    for moment in rollout.moments:
        restore(body, moment)
        T = camera_pose(body)
        colour, depth = renderer.render(body.data)
        frames.append(tone.apply(colour))
        surface, normals = world_points(body, points)
        corners = project(K, to_camera(T, world_points(body, outline)[0]))
        wrist, tcp = to_camera(T, np.stack([body.wrist(), body.tcp()]))
        middle = to_camera(T, body.data.xpos[[body.model.body(content.object).id]])[0]
        for key, value in {
            "wrist_camera": wrist,
            "wrist_pixels": project(K, wrist),
            "wrist_visible": unoccluded(wrist[None], K, depth, WRIST_DEPTH)[0],
            "tcp_camera": tcp,
            "tcp_pixels": project(K, tcp),
            "tcp_quaternion": root_quaternion(body, T),
            "keypoints": project(K, to_camera(T, surface)),
            "keypoint_visible": visible_keypoints(surface, normals, T, K, depth),
            "object_centre": project(K, middle),
            "object_box": np.concatenate([corners.min(0), corners.max(0)]),
        }.items():
            rows.setdefault(key, []).append(value)
    times = np.array([m.time for m in rollout.moments])
    truth = GroundTruth(
        timestamps=times - times[0],
        phase=np.array([m.phase for m in rollout.moments]),
        progress=np.array([m.progress for m in rollout.moments]),
        phase_names=rollout.phases,
        K=K,
        T_camera_world=T,
        size=size,
        embodiment=body.kind,
        task=content.task,
        object=content.object,
        instruction=content.instruction,
        layout=content.layout,
        **{key: np.array(value) for key, value in rows.items()},
    )
    return Clip(np.array(frames), times, rollout.states, truth)
