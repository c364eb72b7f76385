"""Demonstrations with videos made on the spot: every frame's colour says its number."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from data_schemas.cues import ObjectTrack, WristTrack
from data_schemas.demonstrations import Demonstration
from data_schemas.identity import demonstration_id, file_sha256, pair_id
from data_schemas.pairs import Alignment
from pipelines.inputs import Annotated
from pipelines.shards.stage import Subject
from pipelines.video import index_video

WIDTH, HEIGHT, NUM_KEYPOINTS = 96, 64, 4


def frame_color(number: int) -> tuple[int, int, int]:
    """RGB of frame `number`: 16 steps of red times 16 of green, far enough apart to survive H.264 and JPEG."""
    return (number % 16) * 15 + 10, (number // 16) * 15 + 10, 128


def frame_number(color: np.ndarray) -> int:
    """Inverse of `frame_color` on a decoded colour."""
    red, green = np.rint((color[:2].astype(float) - 10) / 15).astype(int)
    return int(green * 16 + red)


def write_video(path: Path, num_frames: int, label: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "8", "g": "12"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv444p"
        stream.time_base = Fraction(1, 10)
        for number in range(num_frames):
            image = np.full((HEIGHT, WIDTH, 3), frame_color(number), np.uint8)
            image[: 4 + label % 8, :4] = 255  # makes the content of two videos differ
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


class Studio:
    """Makes demonstrations below one raw root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._made = 0

    def clip(self, embodiment: str, num_frames: int, pair_key: str | None = None, **changes) -> Annotated:
        self._made += 1
        rng = np.random.default_rng(self._made)
        path = self.root / f"{embodiment}{self._made}.mp4"
        write_video(path, num_frames, self._made)
        index = index_video(path)
        sha256 = file_sha256(path)
        times = np.arange(num_frames) * 0.1
        poses = np.zeros((0, 7))
        if embodiment == "robot":
            poses = np.concatenate(
                [rng.normal(size=(num_frames, 3)), np.tile([1.0, 0, 0, 0], (num_frames, 1))], 1
            )
        values: dict[str, Any] = {
            "demonstration_id": demonstration_id("toys", sha256, "front"),
            "dataset": "toys",
            "embodiment": embodiment,
            "camera": "front",
            "source": path.name,
            "pair_key": pair_key,
            "task": "stack",
            "instruction": "stack the toys" if embodiment == "robot" else "",
            "license": "CC0-1.0" if embodiment == "robot" else "CC-BY-4.0",
            "video_path": path.name,
            "source_sha256": sha256,
            "codec": index.codec,
            "width": WIDTH,
            "height": HEIGHT,
            "num_frames": num_frames,
            "fps": 10.0,
            "timestamps": times,
            "pts": index.pts,
            "keyframes": index.keyframes,
            "intrinsics": np.zeros(0),
            "effector_times": times[: len(poses)],
            "effector_poses": poses,
            "gripper_times": np.zeros(0),
            "gripper_widths": np.zeros(0),
            "object_box": np.zeros(0, np.float32),
            "object_box_frame": 0,
        }
        row = Demonstration(**{**values, **changes})
        points = rng.uniform(0, HEIGHT, (num_frames, 2)).astype(np.float32)
        seen = rng.uniform(size=num_frames) < 0.8
        points[~seen] = np.nan
        wrist = WristTrack(
            row.demonstration_id, "test", points, seen.astype(np.float32), seen, ["found"] * num_frames
        )
        keypoints = rng.uniform(0, HEIGHT, (num_frames, NUM_KEYPOINTS, 2)).astype(np.float32)
        objects = ObjectTrack(
            row.demonstration_id,
            "test",
            "test",
            "toy",
            np.array([0, 0, 9, 9], np.float32),
            0,
            NUM_KEYPOINTS,
            keypoints,
            np.ones((num_frames, NUM_KEYPOINTS), np.float32),
            np.ones((num_frames, NUM_KEYPOINTS), bool),
        )
        return Annotated(row, self.root, wrist, objects)

    def pair(self, num_robot: int, num_human: int) -> Subject:
        human = self.clip("human", num_human, f"pair{self._made}")
        robot = self.clip("robot", num_robot, human.demonstration.pair_key)
        ids = human.demonstration.demonstration_id, robot.demonstration.demonstration_id
        index = np.sort(np.random.default_rng(self._made).integers(0, num_human, num_robot))
        alignment = Alignment(pair_id(*ids), *ids, "wrist", index, np.zeros((0, 2), np.int64), 0.1, 1.0)
        return Subject(alignment.pair_id, "pair", human, robot, alignment)

    def single(self, embodiment: str, num_frames: int, **changes) -> Subject:
        clip = self.clip(embodiment, num_frames, **changes)
        sides = (clip, None) if embodiment == "human" else (None, clip)
        return Subject(clip.demonstration.demonstration_id, embodiment, *sides, None)


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="session")
def subjects(studio: Studio) -> list[Subject]:
    """Three pairs (one of two segments), one human and one robot demonstration."""
    return [
        studio.pair(70, 50),
        studio.pair(20, 30),
        studio.pair(12, 12),
        studio.single("human", 9),
        studio.single("robot", 11),
    ]
