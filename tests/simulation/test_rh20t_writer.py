"""The files on disk against the published description of RH20T."""

import json
from pathlib import Path

import av
import numpy as np
import pytest

from simulation.ground_truth import GroundTruth
from simulation.rh20t_writer import SERIAL


def load(path: Path):
    return np.load(path, allow_pickle=True).item()


def scenes(dataset: Path, human: bool) -> list[Path]:
    folders = sorted((dataset / "RH20T_cfg8").glob("task_*"))
    return [f for f in folders if f.name.endswith("_human") == human]


def test_folders_and_name_fields(dataset: Path) -> None:
    robots, humans = scenes(dataset, False), scenes(dataset, True)
    assert len(robots) == len(humans) == 5
    assert len({f.name for f in robots} & {f.name.removesuffix("_human") for f in humans}) == 4
    tasks = json.loads((dataset / "task_description.json").read_text())
    for folder in robots + humans:
        name = folder.name
        assert [name[5:9], name[15:19], name[26:30], name[35:39]] == [
            part for part in name.removesuffix("_human").split("_") if part.isdigit()
        ]
        truth = GroundTruth.load(dataset / "ground_truth" / f"{name}.npz")
        assert tasks[f"task_{name[5:9]}"]["task_description_english"] == truth.instruction
    assert not list((dataset / "RH20T_cfg8").glob(".*"))


def test_human_scene_has_no_states_and_no_rating(dataset: Path) -> None:
    for folder in scenes(dataset, True):
        metadata = json.loads((folder / "metadata.json").read_text())
        assert set(metadata) == {"calib", "calib_quality", "start_time", "end_time", "license"}
        assert metadata["calib_quality"] == -1
        assert {p.name for p in folder.iterdir()} == {"metadata.json", f"cam_{SERIAL}"}


def test_robot_scene_files(dataset: Path) -> None:
    for folder in scenes(dataset, False):
        metadata = json.loads((folder / "metadata.json").read_text())
        assert set(metadata) == {"calib", "calib_quality", "finish_time", "rating", "license"}
        assert metadata["rating"] >= 2
        assert 1 <= metadata["calib_quality"] <= 5
        assert (dataset / "RH20T_cfg8" / "calib" / str(metadata["calib"])).is_dir()
        states = folder / "transformed"
        assert {p.name for p in states.iterdir()} == {"tcp.npy", "tcp_base.npy", "joint.npy", "gripper.npy"}
        assert all(value.shape == (14,) for value in load(states / "joint.npy")[SERIAL].values())
        widths = [v["gripper_info"][0] for v in load(states / "gripper.npy")[SERIAL].values()]
        assert 0 <= min(widths) <= max(widths) <= 110
        assert len(str(metadata["finish_time"])) == 13


def test_timestamps_are_irregular_8_to_10_hz(dataset: Path) -> None:
    gaps = []
    for folder in scenes(dataset, True) + scenes(dataset, False):
        times = load(folder / f"cam_{SERIAL}" / "timestamps.npy")["color"]
        assert all(isinstance(t, int) for t in times)
        with av.open(str(folder / f"cam_{SERIAL}" / "color.mp4")) as video:
            stream = video.streams.video[0]
            assert (stream.codec_context.name, stream.pix_fmt, stream.width) == ("h264", "yuv420p", 96)
            assert sum(1 for _ in video.decode(stream)) == len(times)
        gaps += np.diff(times).tolist()
    assert 100 <= np.median(gaps) <= 125
    assert min(gaps) >= 96
    assert len(set(gaps)) > 3


@pytest.mark.parametrize("which", range(4))
def test_interpolated_tcp_projects_onto_the_truth(dataset: Path, which: int) -> None:
    folder = scenes(dataset, False)[which]
    truth = GroundTruth.load(dataset / "ground_truth" / f"{folder.name}.npz")
    metadata = json.loads((folder / "metadata.json").read_text())
    calibration = dataset / "RH20T_cfg8" / "calib" / str(metadata["calib"])
    times = np.array(load(folder / f"cam_{SERIAL}" / "timestamps.npy")["color"])
    records = load(folder / "transformed" / "tcp.npy")[SERIAL]
    stamps = np.array([r["timestamp"] for r in records])
    assert stamps[0] <= times[0] <= times[-1] <= stamps[-1]
    assert len(set(times.tolist()) - set(stamps.tolist())) > len(times) / 2  # a reader must interpolate
    position = np.stack([np.interp(times, stamps, [r["tcp"][k] for r in records]) for k in range(3)], axis=1)
    K = load(calibration / "intrinsics.npy")[SERIAL][:, :3].copy()
    K[:2] *= truth.size / 1280
    pixels = (position @ K.T)[:, :2] / position[:, 2:]
    assert np.abs(pixels - truth.tcp_pixels).max() < 0.5


def test_base_and_camera_poses_agree(dataset: Path) -> None:
    folder = scenes(dataset, False)[0]
    metadata = json.loads((folder / "metadata.json").read_text())
    calibration = dataset / "RH20T_cfg8" / "calib" / str(metadata["calib"])
    T = load(calibration / "extrinsics.npy")[SERIAL][0]
    base = np.array([r["tcp"] for r in load(folder / "transformed" / "tcp_base.npy")[SERIAL]])
    camera = np.array([r["tcp"] for r in load(folder / "transformed" / "tcp.npy")[SERIAL]])
    np.testing.assert_allclose(base[:, :3] @ T[:3, :3].T + T[:3, 3], camera[:, :3], atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(camera[:, 3:], axis=1), 1, atol=1e-9)
    assert np.load(calibration / "devices.npy").tolist() == [SERIAL]
