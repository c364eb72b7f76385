"""Write clips in RH20T's on-disk layout.

    RH20T_cfg8/calib/<ms>/{intrinsics,extrinsics,tcp,devices}.npy
    RH20T_cfg8/task_XXXX_user_XXXX_scene_XXXX_cfg_0008[_human]/{metadata.json, cam_<serial>/{color.mp4,timestamps.npy}}
    RH20T_cfg8/task_…/transformed/{tcp,tcp_base,joint,gripper}.npy        (robot only)
    task_description.json

As in RH20T, intrinsics are given for a width of 1280 px and scale with the video's width; poses are xyz in metres
and quaternions wxyz; gripper widths are millimetres; times are epoch milliseconds. The base frame is the world
frame. Every scene has its own calibration folder, because every clip has its own camera pose.
"""

import json
import os
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from simulation.content import Content, catalogue
from simulation.recording import Clip
from simulation.rotations import quaternion

CONFIGURATION = 8
SERIAL = "750612070853"
NOMINAL_WIDTH = 1280
NOMINAL_RATE = 10
EPOCH_MS = 1_640_000_000_000
SCENE_MS = 60_000
LICENSE = "CC0-1.0"
RATING, ROBOT_CALIB_QUALITY, HUMAN_CALIB_QUALITY = 9, 3, -1
QUALITY = {"crf": "18", "preset": "veryfast"}


def scene_name(content: Content, user: int, scene: int, human: bool) -> str:
    """Folder name of a clip; a pair shares it up to the suffix `_human`."""
    name = f"task_{content.task_number:04d}_user_{user:04d}_scene_{scene:04d}_cfg_{CONFIGURATION:04d}"
    return name + "_human" if human else name


def configuration_folder(root: Path) -> Path:
    """Where the scene and calibration folders lie."""
    return root / f"RH20T_cfg{CONFIGURATION}"


def write_descriptions(root: Path) -> None:
    """`task_description.json`, the whole catalogue of instructions."""
    tasks = {
        f"task_{i:04d}": {"task_description_english": sentence, "task_description_chinese": ""}
        for i, sentence in enumerate(catalogue(), start=1)
    }
    (root / "task_description.json").write_text(json.dumps(tasks, indent=1))


def write_video(path: Path, frames: np.ndarray, rate: float = NOMINAL_RATE) -> None:
    """H.264 at a constant rate; in RH20T's layout a nominal one, as true times lie in timestamps.npy.

    Args:
        frames: (T, H, W, 3) uint8.
        rate: frames a second.
    """
    exact = Fraction(rate).limit_denominator(1000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=exact, options=QUALITY)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.time_base = 1 / exact
        stream.codec_context.thread_count = 1
        for i, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts = i
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _dump(path: Path, value: object) -> None:
    np.save(path, np.array(value, dtype=object), allow_pickle=True)


def _pose(position: np.ndarray, R: np.ndarray) -> np.ndarray:
    return np.concatenate([position, quaternion(R)])


def _write_states(folder: Path, clip: Clip, stamp: int) -> None:
    folder.mkdir()
    T = clip.truth.T_camera_world
    camera, base, joint, gripper = [], [], {}, {}
    for state in clip.states:
        time = stamp + round(1000 * state.time)
        force = np.zeros(6)
        in_camera = _pose(T[:3, :3] @ state.position + T[:3, 3], T[:3, :3] @ state.R)
        camera.append({"timestamp": time, "tcp": in_camera, "robot_ft": force})
        base.append({"timestamp": time, "tcp": _pose(state.position, state.R), "robot_ft": force})
        joint[time] = state.joints
        width = np.array([1000 * state.aperture, 0.0, 0.0])
        gripper[time] = {"gripper_command": width, "gripper_info": width}
    for name, value in {"tcp": camera, "tcp_base": base, "joint": joint, "gripper": gripper}.items():
        _dump(folder / f"{name}.npy", {SERIAL: value})


def _write_calibration(folder: Path, clip: Clip) -> None:
    folder.mkdir(parents=True)
    truth = clip.truth
    K = np.zeros((3, 4))
    K[:, :3] = truth.K
    K[:2] *= NOMINAL_WIDTH / truth.size
    first = clip.states[0]
    _dump(folder / "intrinsics.npy", {SERIAL: K})
    _dump(folder / "extrinsics.npy", {SERIAL: [truth.T_camera_world]})
    np.save(folder / "tcp.npy", _pose(first.position, first.R))
    np.save(folder / "devices.npy", np.array([SERIAL]))


def write_scene(root: Path, name: str, clip: Clip, scene: int) -> None:
    """Write one clip and its calibration; the scene folder appears only when it is complete.

    Args:
        root: the data set's folder.
        name: scene folder name.
        clip: frames, times and states.
        scene: scene number, which sets the clip's recording time.
    """
    human = clip.truth.embodiment == "human"
    stamp = EPOCH_MS + 2 * scene * SCENE_MS + (0 if human else SCENE_MS)
    configuration = configuration_folder(root)
    calibration = configuration / "calib" / str(stamp)
    target, part = configuration / name, configuration / f".{name}.part"
    for stale in (calibration, part, target):
        shutil.rmtree(stale, ignore_errors=True)
    _write_calibration(calibration, clip)

    camera = part / f"cam_{SERIAL}"
    camera.mkdir(parents=True)
    write_video(camera / "color.mp4", clip.frames)
    times = [stamp + round(1000 * t) for t in clip.times]
    _dump(camera / "timestamps.npy", {"color": times, "depth": []})
    metadata: dict[str, object] = {"calib": stamp, "license": LICENSE}
    if human:
        metadata |= {"calib_quality": HUMAN_CALIB_QUALITY, "start_time": times[0], "end_time": times[-1]}
    else:
        metadata |= {"calib_quality": ROBOT_CALIB_QUALITY, "finish_time": times[-1], "rating": RATING}
        _write_states(part / "transformed", clip, stamp)
    (part / "metadata.json").write_text(json.dumps(metadata, indent=1))
    os.replace(part, target)
