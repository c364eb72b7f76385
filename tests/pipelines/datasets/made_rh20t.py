"""A small RH20T tree of our own, written from the published description and not with the reader's code."""

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.stream import VideoStream

SERIAL = "036422060909"
IN_HAND_SERIAL = "045322071843"
CALIB = 1640674052372
START_MS = 1640674100000
K_1280 = np.array([[900.0, 0, 640, 0], [0, 910, 360, 0], [0, 0, 1, 0]])
"""3x4 as RH20T stores it, for 1280x720."""


def scene_name(task: int = 1, scene: int = 3, cfg: int = 3, human: bool = False) -> str:
    return f"task_{task:04d}_user_0016_scene_{scene:04d}_cfg_{cfg:04d}" + ("_human" if human else "")


def write_video(path: Path, frames: int = 12, width: int = 320, height: int = 180, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=10)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        colours = np.random.default_rng(seed).integers(0, 255, (frames, 3), np.uint8)
        for colour in colours:
            picture = np.broadcast_to(colour, (height, width, 3))
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24"))
            )
        container.mux(stream.encode(None))


def save(path: Path, value: Any) -> None:
    """As RH20T stores dictionaries: a pickled object in an array without dimensions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.array(value, dtype=object), allow_pickle=True)


def frame_times(frames: int) -> list[int]:
    """Irregular milliseconds with a gap, as the recorder gives them."""
    steps = np.random.default_rng(frames).integers(100, 130, frames - 1)
    steps[frames // 2] = 665
    return [START_MS, *(START_MS + np.cumsum(steps)).tolist()]


def pose_entries(times: list[int]) -> list[dict]:
    """Poses at camera depth 1 m, deliberately not in the order of time, quaternion wxyz."""
    entries = [
        {"timestamp": t, "tcp": np.array([0.1 * i, -0.2, 1.0, 0.5, 0.5, -0.5, 0.5]), "robot_ft": np.zeros(6)}
        for i, t in enumerate(times)
    ]
    return entries[::2] + entries[1::2]


def write_clip(folder: Path, serial: str, frames: int, nested: bool = False, seed: int = 0) -> None:
    """One camera of a scene; `nested` is the layout of the 320x180 release."""
    camera = folder / f"cam_{serial}" / ("color" if nested else "")
    write_video(camera / "color.mp4", frames, seed=seed)
    save(camera / "timestamps.npy", {"color": frame_times(frames), "depth": frame_times(frames)})


def write_robot_scene(
    cfg_root: Path, name: str, frames: int = 12, nested: bool = False, **metadata: Any
) -> Path:
    """A robot scene with one fixed camera; returns its folder."""
    folder = cfg_root / name
    write_clip(folder, SERIAL, frames, nested, seed=1)
    times = frame_times(frames)
    values = {"finish_time": times[-1], "rating": 7, "calib": CALIB, "calib_quality": 3, **metadata}
    (folder / "metadata.json").write_text(json.dumps(values))
    save(folder / "transformed" / "tcp.npy", {SERIAL: pose_entries(times), "other": []})
    widths = {t: {"gripper_command": [0, 0, 0], "gripper_info": [110 - i, 0, 0]} for i, t in enumerate(times)}
    save(folder / "transformed" / "gripper.npy", {SERIAL: widths})
    return folder


def write_human_scene(cfg_root: Path, name: str, frames: int = 9, nested: bool = False) -> Path:
    """A human scene, whose calibration folder does not exist, as in the published data."""
    folder = cfg_root / name
    write_clip(folder, SERIAL, frames, nested, seed=2)
    times = frame_times(frames)
    values = {"calib": CALIB + 5, "calib_quality": -1, "start_time": times[0], "end_time": times[-1]}
    (folder / "metadata.json").write_text(json.dumps(values))
    return folder


def write_tree(root: Path, cfgs: tuple[int, ...] = (3,), nested: bool = False) -> Path:
    """`RH20T_cfg*` folders with calibration, one pair each, and the list of tasks."""
    for cfg in cfgs:
        cfg_root = root / f"RH20T_cfg{cfg}"
        write_robot_scene(cfg_root, scene_name(cfg=cfg), nested=nested)
        write_human_scene(cfg_root, scene_name(cfg=cfg, human=True), nested=nested)
        save(cfg_root / "calib" / str(CALIB) / "intrinsics.npy", {SERIAL: K_1280})
    tasks = {"task_0001": {"task_description_english": "Press the button ", "task_description_chinese": "按"}}
    (root / "task_description.json").write_text(json.dumps(tasks))
    return root
