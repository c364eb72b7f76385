"""Carry a plan out in the simulation and record the moments that become frames.

Rendering comes later and only for demonstrations that succeeded. Every embodiment has its own pace and every phase
its own random time scale, so that the time warp between the two clips of a pair is real. Motion eases in and out
of every phase along a cosine; *progress* is the eased fraction of the way, so it compares across embodiments.
"""

from dataclasses import dataclass, replace

import mujoco
import numpy as np

from simulation.content import Content
from simulation.embodiment import COMMAND_EVERY, Embodiment
from simulation.objects import CAP_REST, FREE, LYING_CUP_HEIGHT, REST_HEIGHT, STATIC
from simulation.plans import Waypoint, plan, working_stance
from simulation.rotations import about_x, about_z, quaternion, slerp
from simulation.scene import TIMESTEP
from simulation.success import succeeded

DURATION = {"human": (4.8, 6.6), "robot": (6.4, 9.2)}  # seconds a clip
PHASE_SCALE = (0.65, 1.5)
MARGIN = 0.06  # seconds before the first and after the last frame, so that robot samples surround every frame
SAMPLE_PERIOD = 0.048  # seconds between robot state samples, nominal
START = np.array([-0.06, 0.0, 0.26])
FREE_PHASES = ("reach", "lift", "carry", "retreat")  # their waypoints may vary from clip to clip
WAYPOINT_NOISE = 0.012


@dataclass(frozen=True)
class Moment:
    """The simulation's state at one frame: enough to render it again.

    time: seconds from the start of the motion; phase: index into the plan; progress: 0 to 1 within the phase.
    """

    time: float
    phase: int
    progress: float
    qpos: np.ndarray
    mocap_pos: np.ndarray
    mocap_quat: np.ndarray


@dataclass(frozen=True)
class RobotState:
    """One proprioceptive sample: TCP position (3,) and rotation (3, 3) in the world, joints, opening in metres."""

    time: float
    position: np.ndarray
    R: np.ndarray
    joints: np.ndarray
    aperture: float


@dataclass(frozen=True)
class Rollout:
    """One demonstration before rendering."""

    phases: tuple[str, ...]
    moments: list[Moment]
    states: list[RobotState]
    success: bool


def frame_times(rng: np.random.Generator, duration: float, rate: float | None) -> np.ndarray:
    """Frame times in seconds, whole simulation steps: a constant `rate`, or an irregular 8 to 10 Hz with drops."""
    times = [MARGIN]
    while times[-1] < duration - MARGIN:
        if rate:
            times.append(MARGIN + len(times) / rate)
        else:
            gap = rng.uniform(0.100, 0.125)
            times.append(times[-1] + gap * (2 if rng.random() < 0.02 else 1))
    return np.round(np.array(times[:-1]) / TIMESTEP) * TIMESTEP


def place_objects(model: mujoco.MjModel, data: mujoco.MjData, content: Content) -> None:
    """Put everything where the content says; what it does not use is parked out of sight."""
    mujoco.mj_resetData(model, data)
    for name in STATIC:
        xyz = [*content.positions[name], 0.0] if name in content.positions else [0.0, 0.0, -3.0]
        model.body_pos[model.body(name).id] = xyz
    for name in FREE:
        if name not in content.positions:
            continue
        address = model.jnt_qposadr[model.body(name).jntadr[0]]
        lying = name == "cup" and content.task == "flip"
        R = about_x(-np.pi / 2) if lying else about_z(content.yaws.get(name, 0.0))
        height = LYING_CUP_HEIGHT if lying else REST_HEIGHT[name]
        data.qpos[address : address + 3] = [*content.positions[name], height]
        data.qpos[address + 3 : address + 7] = quaternion(R)


def reset(body: Embodiment, content: Content) -> None:
    """Put everything where the content says, with nothing held."""
    place_objects(body.model, body.data, content)
    body.release()
    body.touch_with(working_stance(content))


def _vary(waypoints: list[Waypoint], rng: np.random.Generator) -> list[Waypoint]:
    return [
        replace(w, position=w.position + rng.normal(0, WAYPOINT_NOISE, 3)) if w.phase in FREE_PHASES else w
        for w in waypoints
    ]


def roll_out(
    body: Embodiment, content: Content, rng: np.random.Generator, rate: float | None = None, pace: float = 1.0
) -> Rollout:
    """Simulate one demonstration.

    Args:
        body: the embodiment; its state is overwritten.
        content: what to do.
        rng: source of pace, phase scales, waypoint noise and frame times.
        rate: frames per second, or None for an irregular 8 to 10 Hz.
        pace: multiplies the clip's duration; below 1 gives shorter clips.
    """
    waypoints = _vary(plan(content, body), rng)
    duration = rng.uniform(*DURATION[body.kind]) * pace
    weights = np.array([w.weight for w in waypoints]) * rng.uniform(*PHASE_SCALE, len(waypoints))
    steps = np.maximum(1, np.round(weights / weights.sum() * duration / TIMESTEP)).astype(int)
    total = int(steps.sum())
    frames = set(np.round(frame_times(rng, total * TIMESTEP, rate) / TIMESTEP).astype(int).tolist())
    samples = np.cumsum(rng.integers(11, 14, total // 10)) - 11 + rng.integers(0, 11)
    samples = {0, total - 1, *(s for s in samples.tolist() if s < total)}

    R = body.rotation("grasp")
    start = START + rng.normal(0, 0.02, 3)
    position, fingers = start - R @ body.tool("pinch"), body.fingers("pinch", 0.06)
    reset(body, content)
    body.place(position, R, fingers)

    model, data = body.model, body.data
    cap = data.body("button_cap").xpos
    moments, states, lowest, step = [], [], CAP_REST, 0
    rotation = quaternion(R)
    for index, (waypoint, count) in enumerate(zip(waypoints, steps, strict=True)):
        goal = waypoint.position - waypoint.R @ body.tool(waypoint.posture)
        goal_rotation = quaternion(waypoint.R)
        goal_fingers = body.fingers(waypoint.posture, waypoint.aperture)
        for i in range(count):
            progress = 0.5 - 0.5 * np.cos(np.pi * (i + 1) / count)
            if step % COMMAND_EVERY == 0 or i == count - 1:
                body.command(
                    position + (goal - position) * progress,
                    slerp(rotation, goal_rotation, progress),
                    fingers + (goal_fingers - fingers) * progress,
                )
            body.step()
            lowest = min(lowest, cap[2])
            if step in frames:
                moments.append(
                    Moment(
                        step * TIMESTEP,
                        index,
                        float(progress),
                        data.qpos.copy(),
                        data.mocap_pos.copy(),
                        data.mocap_quat.copy(),
                    )
                )
            if step in samples:
                mujoco.mj_kinematics(model, data)
                states.append(
                    RobotState(
                        step * TIMESTEP, body.tcp(), body.root_rotation(), body.joints(), body.aperture()
                    )
                )
            step += 1
        position, rotation, fingers = goal, goal_rotation, goal_fingers
        if waypoint.event == "grasp":
            body.grasp(content.object)
        elif waypoint.event == "release":
            body.release()
    mujoco.mj_kinematics(model, data)
    poses = {
        name: np.concatenate([data.body(name).xpos, data.body(name).xquat])
        for name in (*content.positions, "button_cap")
    }
    poses["button_cap"][2] = lowest
    return Rollout(tuple(w.phase for w in waypoints), moments, states, succeeded(content, poses))
