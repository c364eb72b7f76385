"""Any folder of videos with a table: pairs, missing halves, single clips, and what a table can get wrong."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from data_schemas.demonstrations import Demonstration
from data_schemas.errors import BadInput, UserError
from pipelines.curate import Curation
from pipelines.datasets import get_reader
from pipelines.engine.executor import LocalExecutor
from pipelines.engine.lake import Lake
from pipelines.outlines import SubjectOutline
from pipelines.recipe import load_curate_recipe
from pipelines.shards.subjects import split_of
from tests.pipelines.datasets.made_rh20t import write_video

HEADER = "pair_id,human,robot,instruction"
K = [[200.0, 0, 160], [0, 200, 90], [0, 0, 1]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    for i, name in enumerate(("human/a.mp4", "robot/a.mov", "human/b.mp4", "robot/c.mp4")):
        write_video(folder / name, frames=10 + i, seed=i)
    return folder


def table(root: Path, *lines: str, header: str = HEADER) -> Path:
    (root / "pairs.csv").write_text("\n".join([header, *lines]) + "\n", "utf-8")
    return root


def read(root: Path, **options: Any) -> list[Demonstration]:
    reader = get_reader("clips", options, "mine")
    return [reader.read(clip, root) for clip in reader.discover(root)]


def test_a_table_without_rows_ends_a_curation_before_it_begins(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text(HEADER + "\n")
    curation = Curation(load_curate_recipe("clips"), tmp_path, Lake(tmp_path / "lake"), LocalExecutor())
    with pytest.raises(UserError, match="holds no clip of the data set 'clips'"):
        curation.ingest()
    assert not (tmp_path / "lake").exists()


def test_a_root_that_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent is no folder: give the one that holds"):
        read(tmp_path / "absent")


def test_pairs_missing_halves_and_single_clips(root: Path) -> None:
    table(
        root,
        'p1,human/a.mp4,robot/a.mov,"push the plate, gently",push,MIT',
        "p2,human/b.mp4,,push it back,,",
        ",,robot/c.mp4,,,",
        header=HEADER + ",task,license",
    )
    rows = read(root, license="CC-BY-4.0")
    assert [(r.embodiment, r.pair_key, r.num_frames) for r in rows] == [
        ("human", "p1", 10),
        ("robot", "p1", 11),
        ("human", "p2", 12),
        ("robot", None, 13),
    ]
    assert [r.instruction for r in rows] == ["push the plate, gently"] * 2 + ["push it back", ""]
    assert [r.license for r in rows] == ["MIT", "MIT", "CC-BY-4.0", "CC-BY-4.0"]
    assert [r.task for r in rows] == ["push", "push", "", ""]
    assert {r.dataset for r in rows} == {"mine"}
    np.testing.assert_allclose(rows[0].timestamps, np.arange(10) / 10)
    assert rows[0].K is None
    assert rows[1].effector_poses.shape == (0, 7)


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_calibration_file(root: Path, suffix: str) -> None:
    poses = [[0.1, 0.2, 1.0, 2**0.5 / 2, 0, 2**0.5 / 2, 0], [0, 0, 1.0, 1.0, 0, 0, 0]]
    known = {"robot": {"K": K, "effector_times": [0.5, 0.0], "effector_poses": poses}, "human": {"K": K}}
    text = json.dumps(known) if suffix == ".json" else yaml.safe_dump(known)
    (root / f"c{suffix}").write_text(text)
    table(root, f"p1,human/a.mp4,robot/a.mov,push,c{suffix}", header=HEADER + ",calibration")
    human, robot = read(root)
    assert human.K is not None
    assert robot.K is not None
    np.testing.assert_array_equal(human.K, K)
    np.testing.assert_array_equal(robot.K, K)
    assert human.effector_times.size == 0
    np.testing.assert_array_equal(robot.effector_times, [0, 0.5])
    np.testing.assert_allclose(robot.effector_poses, [poses[1], poses[0]])


def test_pairs_that_share_a_video_share_a_split(root: Path) -> None:
    lines = [f"a{i},human/a.mp4,robot/{i}.mp4,push" for i in range(20)]
    lines += ["b/c,human/b.mp4,robot/0.mp4,push", "b_c,human/b.mp4,,push", ",human/a.mp4,,push"]
    lines += [f"other{i},human/other{i}.mp4,,push" for i in range(20)]
    table(root, *lines)
    keys = [clip.pair_key for clip in get_reader("clips", {}).discover(root)]
    subjects = [SubjectOutline("id", "pair", "clips", key, None, None, False) for key in keys if key]
    splits = {s.pair_key: split_of(s, 0.5) for s in subjects}
    assert len(splits) == len(lines) - 1
    assert len({split for key, split in splits.items() if not str(key).startswith("other")}) == 1
    assert len(set(splits.values())) == 2
    table(root, lines[0])
    assert [clip.pair_key for clip in get_reader("clips", {}).discover(root)] == ["a0", "a0"], "as before"


@pytest.mark.parametrize(
    ("side", "reason"),
    [
        ({"K": [[1, 2], [3, 4]]}, "bad_calibration_shape"),
        ({"K": "unknown"}, "bad_calibration"),
        ({"intrinsics": K}, "bad_calibration"),
        ({"K": [[10**400, 0, 1], [0, 1, 1], [0, 0, 1]]}, "bad_calibration"),
        ({"effector_times": [0.0], "effector_poses": [[0, 0, 1, 1, 0, 0]]}, "bad_pose_shape"),
        ({"effector_times": [10**400], "effector_poses": [[0, 0, 1, 1, 0, 0, 0]]}, "bad_pose_shape"),
        ({"effector_times": [0.0, 1.0], "effector_poses": [[0, 0, 1, 1, 0, 0, 0]]}, "bad_pose_shape"),
        ({"effector_times": [0.0], "effector_poses": [[float("nan"), 0, 1, 1, 0, 0, 0]]}, "nan_pose"),
        ({"effector_times": [0.0], "effector_poses": [[0, 0, 1, 0, 0, 0, 0]]}, "bad_quaternion"),
        ({"effector_times": [1.7e9], "effector_poses": [[0, 0, 1, 1, 0, 0, 0]]}, "poses_outside_clip"),
    ],
)
def test_broken_calibration(root: Path, side: dict, reason: str) -> None:
    (root / "c.json").write_text(json.dumps({"robot": side}))
    table(root, ",,robot/c.mp4,,c.json", header=HEADER + ",calibration")
    with pytest.raises(BadInput) as caught:
        read(root)
    assert caught.value.reason == reason
    assert "c.json" in caught.value.detail


def test_missing_files_are_items_that_fail(root: Path) -> None:
    reader = get_reader("clips", {})
    table(root, "p1,human/none.mp4,robot/c.mp4,push,none.json", header=HEADER + ",calibration")
    reasons = []
    for clip in reader.discover(root):
        with pytest.raises(BadInput) as caught:
            reader.read(clip, root)
        reasons.append(caught.value.reason)
    assert reasons == ["missing_file", "missing_calibration"]


def test_one_human_video_for_several_robots(root: Path) -> None:
    table(root, "p1,human/a.mp4,robot/a.mov,push", "p2,human/a.mp4,robot/c.mp4,push")
    rows = read(root)
    assert [r.pair_key for r in rows] == ["p1", "p1", "p1/p2", "p1/p2"]
    assert len({r.demonstration_id for r in rows}) == 4
    assert rows[0].source_sha256 == rows[2].source_sha256
    table(root, "p1,human/a.mp4,robot/a.mov,push")
    assert read(root)[0].demonstration_id == rows[0].demonstration_id


def test_pairs_whose_names_share_a_folder_do_not_share_a_split(root: Path) -> None:
    def splits(*names: str) -> list[tuple[str | None, str]]:
        for name in names:
            (root / name).mkdir(parents=True, exist_ok=True)
        table(root, *(f"{name},{name}/h.mp4,{name}/r.mp4,push" for name in names))
        keys = [clip.pair_key for clip in get_reader("clips", {}).discover(root)]
        assert keys[::2] == keys[1::2], "both halves have the key"
        subjects = [SubjectOutline("id", "pair", "clips", key, None, None, False) for key in keys[::2]]
        return [(subject.pair_key, split_of(subject, 0.15)) for subject in subjects]

    assert [key for key, _ in splits("a", "a.b")] == ["a", "a.b"]
    found = splits(*(f"kitchen/{i}" for i in range(100)))
    assert len({key for key, _ in found}) == 100
    assert 5 <= [split for _, split in found].count("held_out") <= 30


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["p1,human/a.mp4,,push", "p1,human/b.mp4,,push"], r"line 3 repeats the pair_id 'p1' of line 2"),
        (["p1,,,push"], r"line 2 names no video"),
        ([",human/a.mp4,robot/a.mov,push"], r"two videos without a pair_id"),
        (["p1,human/a.mp4,human/a.mp4,push"], r"line 2 has 'human/a.mp4' under robot.* under human, too"),
        (["p1,human/a.mp4,,push", "p2,,human/a.mp4,push"], r"line 3 has 'human/a.mp4' under robot"),
        (["p1,human/a.mp4,robot/a.mov,push, then pull"], r"line 2 has not 4 fields.*quote"),
        (["p1,human/a.mp4"], r"line 2 has not 4 fields"),
        (["p1,/etc/passwd,,push"], r"human '/etc/passwd', which leads out of the folder"),
        (["p1,human/../../x.mp4,,push"], r"leads out of the folder"),
        (["p1,human/a.mp4,,push", "p2,human/\0.mp4,,push"], r"line 3 has the human .* holds a NUL character"),
        (['p1,"human/a.mp4,,push'], r"is no CSV table|has not 4 fields"),
    ],
)
def test_mistakes_in_the_table(root: Path, lines: list[str], message: str) -> None:
    table(root, *lines)
    with pytest.raises(UserError, match=message) as caught:
        read(root)
    assert "\n" not in str(caught.value)


def test_mistakes_of_the_whole_table(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UserError, match=r"pairs.csv is missing.*pair_id, human, robot, instruction"):
        read(root)
    table(root, "p1,human/a.mp4,push", header="pair_id,human,text")
    with pytest.raises(
        UserError, match=r"has the columns pair_id, human, text: expected also robot, instruction"
    ):
        read(root)
    (root / "pairs.csv").write_bytes(f"{HEADER}\np1,human/a.mp4,,schiebe zurück\n".encode("latin-1"))
    with pytest.raises(UserError, match="not UTF-8"):
        read(root)
    (root / "pairs.csv").write_bytes(b"")
    with pytest.raises(UserError, match=r"\(none\)"):
        read(root)
    table(root, "p1,human/a.mp4,,push,x", header=HEADER + ",licence")
    assert len(read(root)) == 1
    assert "licence" in caplog.text


def test_a_table_saved_by_a_spreadsheet(root: Path) -> None:
    text = f"{HEADER}\r\n p1 , human/a.mp4 ,,schiebe zurück\r\n\r\n"
    (root / "pairs.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (row,) = read(root)
    assert (row.pair_key, row.instruction) == ("p1", "schiebe zurück")


def test_links_out_of_the_root_are_refused(root: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "outside.mp4")
    (root / "link.mp4").symlink_to(tmp_path / "outside.mp4")
    table(root, "p1,link.mp4,,push")
    with pytest.raises(BadInput, match="path_escape"):
        read(root)


def test_real_pairs(samples: Path, tmp_path: Path) -> None:
    folder = samples / "human2sim2robot"
    for name in ("human_demos_vid_snackbox_pivot.mp4", "robot_vids_snackbox_pivot.mov"):
        shutil.copy(folder / name, tmp_path)
    table(
        tmp_path, "pivot,human_demos_vid_snackbox_pivot.mp4,robot_vids_snackbox_pivot.mov,tip the box upright"
    )
    human, robot = read(tmp_path)
    assert (human.width, human.height, human.num_frames) == (640, 360, 179)
    assert (robot.width, robot.height, robot.num_frames) == (478, 358, 77)
    assert human.fps == pytest.approx(30)
