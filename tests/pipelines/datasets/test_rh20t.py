"""RH20T: what the files say becomes a row in our units; every trap of the layout has its case here."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_schemas.demonstrations import Demonstration
from data_schemas.errors import BadInput, UserError
from data_schemas.identity import demonstration_id, file_sha256
from pipelines.datasets import Skip, get_reader
from pipelines.datasets.ingest import source_work
from pipelines.inputs import SourceClip
from tests.pipelines.datasets.made_rh20t import (
    CALIB,
    IN_HAND_SERIAL,
    SERIAL,
    START_MS,
    frame_times,
    pose_entries,
    save,
    scene_name,
    write_clip,
    write_human_scene,
    write_robot_scene,
    write_tree,
    write_video,
)

ROBOT = f"RH20T_cfg3/{scene_name()}"


def clips(root: Path, **options: Any) -> list[SourceClip]:
    return list(get_reader("rh20t", options).discover(root))


def read(root: Path, embodiment: str = "robot", **options: Any) -> Demonstration:
    reader = get_reader("rh20t", options)
    (clip,) = [c for c in reader.discover(root) if c.embodiment == embodiment]
    return reader.read(clip, root)


def refusal(root: Path, **options: Any) -> str:
    with pytest.raises(BadInput) as caught:
        read(root, **options)
    return caught.value.reason


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "raw")


def edit_metadata(root: Path, **values: Any) -> None:
    path = root / ROBOT / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_robot_half(root: Path) -> None:
    row = read(root)
    times = (np.array(frame_times(12)) - START_MS) / 1000
    video = root / ROBOT / f"cam_{SERIAL}" / "color.mp4"
    assert row.demonstration_id == demonstration_id("rh20t", file_sha256(video), SERIAL)
    assert (row.embodiment, row.camera, row.task, row.source) == ("robot", SERIAL, "task_0001", ROBOT)
    assert (row.instruction, row.license) == ("Press the button", "CC-BY-SA-4.0")
    assert root / row.video_path == video
    assert (row.width, row.height, row.num_frames, row.codec) == (320, 180, 12, "h264")
    np.testing.assert_allclose(row.timestamps, times)
    assert row.fps == pytest.approx(1 / np.median(np.diff(times)))
    assert row.K is not None
    np.testing.assert_allclose(row.K, [[225, 0, 160], [0, 227.5, 90], [0, 0, 1]])
    np.testing.assert_allclose(row.effector_times, times)
    expected = [[0.1 * i, -0.2, 1, 0.5, 0.5, -0.5, 0.5] for i in range(12)]
    np.testing.assert_allclose(row.effector_poses, expected)
    np.testing.assert_allclose(row.gripper_times, times)
    np.testing.assert_allclose(row.gripper_widths, (110 - np.arange(12)) / 1000)
    np.testing.assert_equal(Demonstration.from_record(row.to_record()).effector_poses, row.effector_poses)


def test_human_half_without_its_calibration_folder(root: Path) -> None:
    row = read(root, "human")
    assert (row.embodiment, row.num_frames, row.K) == ("human", 9, None)
    assert row.effector_times.size == row.effector_poses.size == row.gripper_times.size == 0
    assert row.timestamps[0] == 0
    assert row.pair_key == read(root).pair_key == f"{scene_name()}/{SERIAL}"


@pytest.mark.parametrize("where", ["several", "one", "bare"])
def test_any_of_the_three_roots(tmp_path: Path, where: str) -> None:
    root = write_tree(tmp_path / "raw", cfgs=(1, 3))
    if where == "several":
        found = clips(root)
        assert [c.source for c in found] == sorted(c.source for c in found)
        assert len(found) == 4
        return
    folder = root / "RH20T_cfg3"
    if where == "bare":
        shutil.rmtree(folder / "calib")
    row = read(folder)
    assert row.instruction == "Press the button"  # from the folder above
    assert (row.K is None) == (where == "bare")


def test_the_release_with_a_folder_per_stream(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", nested=True)
    assert read(root).video_path.endswith(f"cam_{SERIAL}/color/color.mp4")
    assert read(root, "human").num_frames == 9


def test_the_release_in_three_trees(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", nested=True)
    for part in ("LowDim", "Calibration"):
        (root / part / "RH20T_cfg3" / scene_name()).mkdir(parents=True)
    shutil.move(root / ROBOT / "transformed", root / "LowDim" / ROBOT)
    shutil.move(root / ROBOT / "metadata.json", root / "LowDim" / ROBOT)
    shutil.move(root / "RH20T_cfg3" / "calib", root / "Calibration" / "RH20T_cfg3")
    (root / "RGB").mkdir()
    shutil.move(root / "RH20T_cfg3", root / "RGB" / "RH20T_cfg3")
    row = read(root, rgb="RGB", low_dim="LowDim", calibration="Calibration")
    assert row.K is not None
    assert row.effector_poses.shape == (12, 7)
    assert row.instruction == "Press the button"


def test_halves_without_partner_are_found(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    write_robot_scene(root, scene_name(task=1))
    write_human_scene(root, scene_name(task=2, human=True))
    assert [(c.embodiment, c.hints["task"]) for c in clips(root)] == [
        ("robot", "task_0001"),
        ("human", "task_0002"),
    ]


def test_a_folder_that_may_not_be_listed_stops_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "lost+found").mkdir()
    scandir = os.scandir

    def refused(folder: Path) -> Any:
        if Path(folder).name == "lost+found":
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refused)  # root, who may run the tests, is refused nothing
    assert len(clips(root)) == 2
    assert "lost+found may not be listed" in caplog.text


@pytest.mark.parametrize("forbidden", ["scene", "camera"])
def test_a_scene_that_may_not_be_looked_into_is_left_out(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, forbidden: str
) -> None:
    scandir, stat = os.scandir, Path.stat
    place = root / ROBOT

    def refused(folder: Path) -> Any:
        if Path(folder) == place:
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    def refused_inside(path: Path, **options: Any) -> os.stat_result:
        if path.parent == place / f"cam_{SERIAL}":
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    if forbidden == "scene":
        monkeypatch.setattr(os, "scandir", refused)
    else:
        monkeypatch.setattr(Path, "stat", refused_inside)
    assert [clip.embodiment for clip in clips(root)] == ["human"]
    assert f"{place} is left out" in caplog.text


def test_a_name_that_is_not_utf_8_stops_nothing(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    odd = os.fsdecode(b"K\xfcche")
    (root / odd / scene_name(task=2) / f"cam_{SERIAL}").mkdir(parents=True)
    (root / ROBOT / f"cam_{odd}").mkdir()
    (root / "RH20T_cfg3" / "calib" / odd).touch()
    work = source_work(get_reader("rh20t", {}).discover(root), root)
    assert len(work.labels) == 2
    assert caplog.text.count("not UTF-8") == 2
    assert r"K\xfcche" in caplog.text


@pytest.mark.parametrize(("rating", "wanted"), [(0, False), (1, False), (2, True), (9, True)])
def test_failures_are_filtered_by_rating(root: Path, rating: int, wanted: bool) -> None:
    edit_metadata(root, rating=rating)
    if wanted:
        assert read(root).num_frames == 12
    else:
        with pytest.raises(Skip, match="low_rating"):
            read(root)
        assert read(root, min_rating=0).num_frames == 12


@pytest.mark.parametrize(
    ("metadata", "calibrated"),
    [
        ({"calib_quality": 5}, True),
        ({"calib_quality": 0}, True),
        ({"calib_quality": -1}, False),
        ({"calib": -1}, False),
        ({"calib": CALIB + 1}, False),
    ],
)
def test_a_clip_without_calibration_is_kept_without_poses(
    root: Path, metadata: dict[str, int], calibrated: bool
) -> None:
    edit_metadata(root, **metadata)
    row = read(root)
    assert (row.K is not None) == (row.effector_times.size > 0) == calibrated
    assert row.gripper_times.size == 12
    if not calibrated:
        with pytest.raises(Skip, match="uncalibrated"):
            read(root, require_calibration=True)


def test_in_hand_cameras_are_filtered(root: Path) -> None:
    write_clip(root / ROBOT, IN_HAND_SERIAL, 12)
    reader = get_reader("rh20t", {})
    found = {c.camera: c for c in reader.discover(root) if c.embodiment == "robot"}
    with pytest.raises(Skip, match="in_hand_camera"):
        reader.read(found[IN_HAND_SERIAL], root)
    assert reader.read(found[SERIAL], root).num_frames == 12


@pytest.mark.parametrize(("scene", "expected"), [(1, "CC-BY-SA-4.0"), (6, "CC-BY-NC-4.0"), (11, "unknown")])
def test_license_by_scene_number(tmp_path: Path, scene: int, expected: str) -> None:
    write_robot_scene(tmp_path, scene_name(scene=scene))
    assert read(tmp_path).license == expected
    write_robot_scene(tmp_path, scene_name(scene=scene), license="MIT")
    assert read(tmp_path).license == "MIT"


def test_a_task_without_sentence_has_none(root: Path) -> None:
    (root / "task_description.json").write_text("{}")
    assert read(root).instruction == ""
    (root / "task_description.json").write_text('["a"]')
    with pytest.raises(UserError, match=r"task list.*mend or remove"):
        read(root)


def spoil_times(root: Path, change: Any) -> None:
    times = frame_times(12)
    save(root / ROBOT / f"cam_{SERIAL}" / "timestamps.npy", {"color": change(times)})


@pytest.mark.parametrize("step", [0, -40])
def test_times_out_of_order(root: Path, step: int) -> None:
    spoil_times(root, lambda t: [*t[:5], t[4] + step, *t[6:]])
    assert refusal(root) == "timestamps_out_of_order"


@pytest.mark.parametrize(("extra", "kept"), [(-2, 10), (2, 12)])
def test_a_few_times_too_many_or_too_few_are_cut(root: Path, extra: int, kept: int) -> None:
    spoil_times(root, lambda t: t[:extra] if extra < 0 else [*t, t[-1] + 100, t[-1] + 200])
    row = read(root)
    assert row.num_frames == len(row.timestamps) == len(row.pts) == kept
    assert refusal(root, max_count_difference=1) == "timestamp_count_mismatch"


def test_a_missing_second_of_times_is_broken(root: Path) -> None:
    spoil_times(root, lambda t: t[:3] + t[6:])
    assert refusal(root) == "timestamp_count_mismatch"


@pytest.mark.parametrize("value", ["soon", [], [["a"]], {"a": 1}])
def test_times_that_are_none(root: Path, value: Any) -> None:
    spoil_times(root, lambda _: value)
    assert refusal(root) == "bad_timestamps"


def spoil_poses(root: Path, change: Any) -> None:
    entries = pose_entries(frame_times(12))
    change(entries)
    save(root / ROBOT / "transformed" / "tcp.npy", {SERIAL: entries})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda e: e[3]["tcp"].__setitem__(1, np.nan), "nan_pose"),
        (lambda e: e[3].update(tcp=np.zeros(6)), "bad_pose_shape"),
        (lambda e: e[3]["tcp"].__setitem__(slice(3, 7), 0), "bad_quaternion"),
        (lambda e: e[3].pop("tcp"), "bad_pose_file"),
        (lambda e: e[3].update(timestamp=10**30), "bad_pose_file"),
        (lambda e: [x.update(timestamp=x["timestamp"] // 1000) for x in e], "poses_outside_clip"),
    ],
)
def test_broken_poses(root: Path, change: Any, reason: str) -> None:
    spoil_poses(root, change)
    assert refusal(root) == reason


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        (np.eye(4), "bad_calibration_shape"),
        (np.full((3, 4), np.nan), "bad_calibration"),
        ("x", "bad_calibration"),
        ([[10**400, 0, 1], [0, 1, 1], [0, 0, 1]], "bad_calibration"),
    ],
)
def test_broken_intrinsics(root: Path, matrix: Any, reason: str) -> None:
    save(root / "RH20T_cfg3" / "calib" / str(CALIB) / "intrinsics.npy", {SERIAL: matrix})
    assert refusal(root) == reason


def test_only_the_calibration_that_a_scene_names_is_part_of_its_clips_ids(root: Path) -> None:
    def ids() -> list[str]:
        return list(source_work(get_reader("rh20t", {}).discover(root), root).labels)

    before = ids()
    calibrations = root / "RH20T_cfg3" / "calib"
    save(calibrations / str(CALIB + 1) / "intrinsics.npy", {SERIAL: np.eye(3, 4)})
    assert ids() == before
    save(
        calibrations / str(CALIB + 5) / "intrinsics.npy", {SERIAL: np.eye(3, 4)}
    )  # the human scene's comes late
    assert [i in before for i in ids()] == [True, False]
    assert read(root, "human").K is not None


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]", b"[" * 100_000, b'{"calib": "x", "rating": 5}'])
def test_a_scene_of_broken_metadata_stops_no_other(root: Path, content: bytes) -> None:
    (root / ROBOT / "metadata.json").write_bytes(content)
    assert len(clips(root)) == 2
    assert refusal(root) == "bad_metadata"
    assert read(root, "human").num_frames == 9


def test_numbers_beyond_all_bounds(root: Path) -> None:
    save(root / ROBOT / "transformed" / "gripper.npy", {SERIAL: {10**30: {"gripper_info": [110]}}})
    assert refusal(root) == "bad_gripper_file"
    edit_metadata(root, calib=float("inf"))
    assert refusal(root) == "bad_metadata"


def test_missing_files_are_named(root: Path) -> None:
    scene, camera = root / ROBOT, root / ROBOT / f"cam_{SERIAL}"
    (scene / "transformed" / "gripper.npy").unlink()
    (scene / "transformed" / "tcp.npy").unlink()
    assert read(root).effector_times.size == 0
    (camera / "timestamps.npy").unlink()
    assert refusal(root) == "missing_timestamps"
    (camera / "color.mp4").unlink()
    assert refusal(root) == "missing_file"
    (scene / "metadata.json").write_text("{")
    assert refusal(root) == "bad_metadata"
    (scene / "metadata.json").unlink()
    assert refusal(root) == "missing_metadata"


def test_a_scene_without_cameras_is_not_silent(root: Path) -> None:
    shutil.rmtree(root / ROBOT / f"cam_{SERIAL}")
    assert refusal(root) == "missing_file"


def test_links_out_of_the_root_are_refused(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.mp4"
    write_video(outside)
    video = root / ROBOT / f"cam_{SERIAL}" / "color.mp4"
    video.unlink()
    video.symlink_to(outside)
    assert refusal(root) == "path_escape"


def test_a_calibration_name_cannot_leave_the_root(root: Path) -> None:
    edit_metadata(root, calib="../../..")
    assert refusal(root) == "bad_metadata"


def test_equal_bytes_are_one_demonstration(root: Path) -> None:
    shutil.copytree(root / "RH20T_cfg3" / scene_name(), root / "RH20T_cfg3" / scene_name(task=2))
    reader = get_reader("rh20t", {})
    rows = [reader.read(c, root) for c in reader.discover(root) if c.embodiment == "robot"]
    assert len(rows) == 2
    assert rows[0].demonstration_id == rows[1].demonstration_id


def test_a_root_of_another_layout(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    with pytest.raises(UserError, match=r"holds no RH20T scenes: expected folders task_.*check the root"):
        clips(tmp_path)
    with pytest.raises(UserError, match="is no folder"):
        clips(tmp_path / "absent")
