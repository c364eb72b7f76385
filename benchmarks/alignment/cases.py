"""Pairs with a known frame correspondence, ready for the alignment stage."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from data_schemas.cues import ObjectTrack, WristTrack
from data_schemas.demonstrations import Demonstration
from pipelines.datasets.registry import get_reader
from pipelines.inputs import Annotated, PairInput, VideoInput
from pipelines.pairing import Pair, pair_up
from pipelines.video import open_video

Annotate = Callable[[VideoInput], Annotated]
"""Finds the cues of a clip; see `pipeline_cues`."""


@dataclass(frozen=True)
class Case:
    """A pair, its true human frame per robot frame (T_robot,), and the group it is reported under."""

    group: str
    pair: PairInput
    truth: np.ndarray


def simulated_pairs(root: Path, annotate: Annotate | None) -> Iterator[Case]:
    """Pairs of a folder written by `harp simulate`; without `annotate` the cues are the ground truth."""
    for pair in _read_pairs("rh20t", root):
        robot_scene, human_scene = (Path(half.source).name for half in (pair.robot, pair.human))
        truth = root / "ground_truth"
        task = str(np.load(truth / f"{robot_scene}.npz")["task"])
        halves = [
            annotate(VideoInput(half, root)) if annotate else _true_cues(half, root, truth / f"{scene}.npz")
            for half, scene in ((pair.human, human_scene), (pair.robot, robot_scene))
        ]
        index = np.load(truth / f"{robot_scene}.correspondence.npz")["human_index"]
        yield Case(task, PairInput(pair.pair_id, *halves), index)


def warped_clips(folder: Path, human: str, scratch: Path, seeds: int, annotate: Annotate) -> Iterator[Case]:
    """Frame-identical clips of a human and of robots, the human's warped in time in `seeds` random ways.

    `folder` holds video files of equal frame count; `human` names the human one. Copies go to `scratch`, where
    the `clips` reader finds them.
    """
    robots = sorted(p for p in folder.glob("*.mp4") if p.name != human)
    rows = ["pair_id,human,robot,instruction"]
    truths = {}
    for robot in robots:
        (scratch / robot.name).write_bytes(robot.read_bytes())
    with open_video(folder / human) as video:
        frames, rate = video.frames(range(len(video))), video.fps
    for seed in range(seeds):
        shown = random_warp(len(frames), seed)
        _write_video(scratch / f"warp{seed}.mp4", frames[shown], rate)
        truth = np.interp(np.arange(len(frames)), shown, np.arange(len(shown)))
        for robot in robots:
            name = f"warp{seed} {robot.stem}"
            rows.append(f"{name},warp{seed}.mp4,{robot.name},follow the hand")
            truths[name] = truth
    (scratch / "pairs.csv").write_text("\n".join(rows) + "\n")
    done: dict[str, Annotated] = {}
    for pair in _read_pairs("clips", scratch):
        for half in (pair.human, pair.robot):
            if half.demonstration_id not in done:
                done[half.demonstration_id] = annotate(VideoInput(half, scratch))
        human_id, robot_id = pair.human.demonstration_id, pair.robot.demonstration_id
        key = pair.human.pair_key or ""
        yield Case(key.split()[0], PairInput(pair.pair_id, done[human_id], done[robot_id]), truths[key])


def random_warp(num_frames: int, seed: int, phases: int = 6, spread: float = 0.8) -> np.ndarray:
    """(N,) non-decreasing frames: speed varies smoothly between `phases` values of log-normal spread.

    N is 0.6 to 1.4 times `num_frames`; the first and the last frame stay.
    """
    rng = np.random.default_rng(seed)
    speeds = np.exp(rng.normal(scale=spread, size=phases))
    length = int(num_frames * rng.uniform(0.6, 1.4))
    position = np.cumsum(np.interp(np.linspace(0, 1, length), np.linspace(0, 1, phases), speeds))
    position = (position - position[0]) / (position[-1] - position[0])
    return np.rint(position * (num_frames - 1)).astype(int)


def _true_cues(half: Demonstration, root: Path, path: Path) -> Annotated:
    truth = np.load(path)
    # As the pipeline sees it at best: a projected end effector is known also where hidden or out of the picture.
    seen = truth["wrist_visible"] if half.embodiment == "human" else np.ones(half.num_frames, dtype=bool)
    keypoints, keypoints_seen = truth["keypoints"], truth["keypoint_visible"]
    wrist = WristTrack(
        half.demonstration_id,
        "ground truth",
        np.where(seen[:, None], truth["wrist_pixels"], np.nan).astype(np.float32),
        seen.astype(np.float32),
        seen,
        ["found" if s else "not_found" for s in seen],
    )
    objects = ObjectTrack(
        half.demonstration_id,
        "ground truth",
        "ground truth",
        str(truth["object"]),
        truth["object_box"][0].astype(np.float32),
        0,
        keypoints.shape[1],
        keypoints.astype(np.float32),
        keypoints_seen.astype(np.float32),
        keypoints_seen,
    )
    return Annotated(half, root, wrist, objects)


def _read_pairs(reader_name: str, root: Path) -> list[Pair]:
    reader = get_reader(reader_name, {})
    return pair_up([reader.read(clip, root) for clip in reader.discover(root)]).pairs


def _write_video(path: Path, frames: np.ndarray, rate: float) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=round(rate), options={"crf": "18"})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        for frame in frames:
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"))
            )
        container.mux(stream.encode())
