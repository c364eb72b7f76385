"""A hand detector, and demonstrations made by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from data_schemas.demonstrations import Demonstration
from data_schemas.errors import UserError
from harp import weights
from pipelines.inputs import VideoInput
from pipelines.video import index_video, open_video
from pipelines.wrists.mediapipe_hands import WEIGHTS, MediaPipeHands, MediaPipeHandsConfig
from simulation.ground_truth import GroundTruth
from simulation.recording import Clip
from simulation.tabletop import TabletopConfig, generate


@pytest.fixture(scope="session")
def hand_models() -> Path:
    """Folder of MediaPipe's hand models."""
    try:
        return weights.resolve(WEIGHTS)
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def detector(hand_models: Path) -> MediaPipeHands:
    return MediaPipeHands(hand_models, MediaPipeHandsConfig())


@pytest.fixture(scope="session")
def tabletop_clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """A human picks and places something in the simulation, with the true wrist."""
    root = tmp_path_factory.mktemp("tabletop") / "data"
    generate(TabletopConfig(root, unpaired_human=1, seed=5))
    truth = GroundTruth.load(next(root.glob("ground_truth/*_human.npz")))
    with open_video(next(root.glob("RH20T_*/*_human/*/color.mp4"))) as video:
        return Clip(np.stack(list(video.iter_frames())), truth.timestamps, [], truth)


@pytest.fixture
def make_demonstration() -> Callable[..., Demonstration]:
    """Demonstration of ten frames at 10 Hz without poses; keyword arguments replace its fields."""

    def make(**changes: Any) -> Demonstration:
        values: dict[str, Any] = {
            "demonstration_id": "d0",
            "dataset": "test",
            "embodiment": "robot",
            "camera": "c0",
            "source": "scene_0",
            "pair_key": None,
            "task": "",
            "instruction": "",
            "license": "CC0-1.0",
            "video_path": "absent.mp4",
            "source_sha256": "0" * 64,
            "codec": "h264",
            "width": 320,
            "height": 240,
            "num_frames": 10,
            "fps": 10.0,
            "timestamps": np.arange(10) / 10,
            "pts": np.arange(10),
            "keyframes": np.array([0]),
            "intrinsics": np.empty(0),
            "effector_times": np.empty(0),
            "effector_poses": np.empty((0, 7)),
            "gripper_times": np.empty(0),
            "gripper_widths": np.empty(0),
            "object_box": np.empty(0, np.float32),
            "object_box_frame": 0,
        }
        return Demonstration(**{**values, **changes})

    return make


@pytest.fixture
def make_clip(
    make_demonstration: Callable[..., Demonstration], tmp_path: Path
) -> Callable[[np.ndarray], VideoInput]:
    """Human demonstration whose video holds the given frames (T, H, W, 3), at 10 Hz."""

    def make(frames: np.ndarray) -> VideoInput:
        path = tmp_path / "color.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=10, options={"crf": "10"})
            stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
            container.mux(stream.encode())
        index = index_video(path)
        row = make_demonstration(
            embodiment="human",
            video_path=path.name,
            width=index.width,
            height=index.height,
            num_frames=len(index),
            timestamps=index.timestamps,
            pts=index.pts,
            keyframes=index.keyframes,
        )
        return VideoInput(row, tmp_path)

    return make
