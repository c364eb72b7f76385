"""Agreement of annotators: carried points against a slow loop, distances against planted ones, lakes end to end."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from data_schemas.cues import ObjectTrack, WristTrack
from data_schemas.demonstrations import Demonstration
from data_schemas.errors import UserError
from pipelines.engine.lake import Lake
from pipelines.objects.agreement import compare_objects, compare_wrists
from pipelines.objects.carrying import carry
from pipelines.objects.comparison import compare, read_annotator, write
from pipelines.runs import RunRecord, StageRecord, new_run_id, save_run
from tests.pipelines.objects.conftest import Clip
from tests.pipelines.objects.test_stage import payload

WIDTH = 200


def turned(points: np.ndarray, degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    a = np.deg2rad(degrees)
    return points @ (scale * np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])) + shift


def motion(points: np.ndarray, length: int = 6) -> np.ndarray:
    """(T, K, 2) `points` (K, 2) turning, growing and drifting."""
    return np.stack(
        [turned(points - 50, 8 * t, 1 + 0.03 * t, (50 + 9 * t, 50 + 2 * t)) for t in range(length)]
    )


def objects(points: np.ndarray, visible: np.ndarray | None = None, frame: int = 0) -> ObjectTrack:
    visible = np.ones(points.shape[:2], bool) if visible is None else visible
    return ObjectTrack(
        "d", "a@1", "b@1", "", np.zeros(4, np.float32), frame, points.shape[1], points.astype(np.float32),
        visible.astype(np.float32), visible,
    )  # fmt: skip


def wrist(points: np.ndarray, visible: np.ndarray) -> WristTrack:
    return WristTrack(
        "d", "w@1", points.astype(np.float32), visible.astype(np.float32), visible, ["found"] * len(points)
    )


def test_points_are_carried_by_the_similarity_and_by_their_neighbours() -> None:
    rng = np.random.default_rng(0)
    start = rng.uniform(40, 60, (7, 2))
    points = rng.uniform(40, 60, (4, 2))
    np.testing.assert_allclose(carry(points, start, motion(start)), motion(points), atol=1e-6)

    end = motion(start) + rng.normal(0, 1, (6, 7, 2))
    end[2, 3] = np.nan
    end[4, 1:] = np.nan
    found = carry(points, start, end)
    spread = max(3.0, 0.25 * np.ptp(start, axis=0).max())
    for t in (0, 1, 2, 3, 5):
        known = np.isfinite(end[t]).all(axis=1)
        for n, point in enumerate(points):
            weight = np.exp(-0.5 * (np.hypot(*(start[known] - point).T) / spread) ** 2) + 0.02
            rows, targets = [], []
            for w, (x, y), (u, v) in zip(np.sqrt(weight), start[known], end[t, known], strict=True):
                rows += [[w * x, -w * y, w, 0], [w * y, w * x, 0, w]]
                targets += [w * u, w * v]
            a, b, c, d = np.linalg.lstsq(np.array(rows), np.array(targets), rcond=None)[0]
            expected = [a * point[0] - b * point[1] + c, b * point[0] + a * point[1] + d]
            np.testing.assert_allclose(found[t, n], expected, atol=1e-4)
    assert np.isnan(found[4]).all(), "one point alone tells no turn"


def test_wrists_apart_by_a_known_distance() -> None:
    points = np.random.default_rng(0).uniform(0, 100, (10, 2))
    seen = np.arange(10) < 8
    other = np.arange(10) >= 2
    agreement = compare_wrists(wrist(points, seen), wrist(points + np.array([6, 8]), other), WIDTH)
    assert agreement.distance == pytest.approx(5.0, abs=1e-4)
    assert agreement.compared_frames == 6
    assert agreement.visibility == pytest.approx(0.6)


def test_other_keypoints_on_one_object_agree_and_other_objects_do_not() -> None:
    rng = np.random.default_rng(1)
    a, b = (motion(rng.uniform(40, 60, (n, 2))) for n in (8, 5))
    assert compare_objects(objects(a), objects(b, frame=2), WIDTH).distance < 0.01
    drifting = a + np.arange(6)[:, None, None] * [2.0, 0]
    assert compare_objects(objects(a), objects(drifting), WIDTH).distance == pytest.approx(2.5, abs=0.6)
    elsewhere = np.repeat(rng.uniform(120, 130, (1, 8, 2)), 6, axis=0)
    still = np.repeat(a[:1], 6, axis=0)
    assert compare_objects(objects(still), objects(elsewhere), WIDTH).distance > 25


def test_hidden_points_are_not_compared() -> None:
    points = motion(np.random.default_rng(2).uniform(40, 60, (8, 2)))
    wrong = points.copy()
    wrong[3:] += 50
    visible = np.ones((6, 8), bool)
    visible[3:] = False
    agreement = compare_objects(objects(points), objects(wrong, visible), WIDTH)
    assert agreement.distance < 0.01
    assert agreement.visibility == pytest.approx(0.5)


def lake(folder: Path, row: Demonstration, tracks: dict[str, WristTrack | ObjectTrack]) -> str:
    """A lake with one demonstration and its cues, under keys that begin with the cue's name."""
    made = Lake(folder)
    made.append(Demonstration, "ingest-key", [("s", row)])
    for cue, track in tracks.items():
        made.append(type(track), f"{cue}-key", [(row.demonstration_id, track)])
    stages = [("ingest", "ingest-key"), *((f"{cue}_tracks", f"{cue}-key") for cue in tracks)]
    record = RunRecord(
        run_id=new_run_id("made"), dataset="made", recipe={}, raw_root=str(folder.parent), executor="local",
        started_at=datetime.now(UTC).isoformat(),
        stages=[
            StageRecord(
                name=name, key=key, total=1, processed=1, already_done=0, done=1, filtered={}, failed={}, seconds=0.0
            )
            for name, key in stages
        ],
    )  # fmt: skip
    save_run(made, record)
    return str(folder)


def test_two_lakes_are_compared_and_the_worst_drawn(
    tmp_path: Path, carried: Clip, caplog: pytest.LogCaptureFixture
) -> None:
    row = payload(tmp_path, carried).demonstration
    length = len(carried.frames)
    centre = carried.centre[:, None] + np.array([[-6, -6], [6, -6], [6, 6], [-6, 6]])
    seen = np.ones(length, bool)
    a = lake(tmp_path / "a", row, {"wrist": wrist(carried.tips, seen), "object": objects(centre)})
    b = lake(
        tmp_path / "b",
        row,
        {"wrist": wrist(carried.tips + np.array([8, 0]), seen), "object": objects(centre)},
    )
    comparison = compare(read_annotator(a), read_annotator(b))
    assert write(comparison, tmp_path / "out", pictures=3) == 2
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    distances = {one["cue"]: one["distance_median"] for one in content["summary"]}
    assert distances["wrist"] == pytest.approx(5.0, abs=0.01)
    assert distances["object"] == pytest.approx(0.0, abs=0.01)
    assert (tmp_path / "out" / "worst_wrist_01.png").stat().st_size > 5000
    only = compare(read_annotator(f"{a}@object"), read_annotator(f"{b}@obj"))
    assert [one.cue for one in only.rows] == ["object"]
    (tmp_path / "clip.mp4").unlink()
    assert write(only, tmp_path / "undrawn", pictures=3) == 0
    assert "clip cannot be drawn: " in caplog.text
    with pytest.raises(UserError, match=r"cannot be written to .*comparison.json/out \(Not a directory\)"):
        write(only, tmp_path / "undrawn" / "comparison.json" / "out", pictures=0)


def test_mistakes_are_one_sentence(tmp_path: Path, carried: Clip) -> None:
    row = payload(tmp_path, carried).demonstration
    seen = np.ones(len(carried.frames), bool)
    a = lake(tmp_path / "a", row, {"wrist": wrist(carried.tips, seen)})
    b = lake(tmp_path / "b", row, {"object": objects(carried.centre[:, None].repeat(3, axis=1))})
    with pytest.raises(UserError, match="c@home has no cues: it still runs or was stopped"):
        read_annotator(lake(tmp_path / "c@home", row, {}))
    with pytest.raises(UserError, match="no lake at"):
        read_annotator(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="expected one of wrist-key"):
        read_annotator(f"{a}@ffff")
    with pytest.raises(UserError, match="in common"):
        compare(read_annotator(a), read_annotator(b))


def test_clips_of_other_lengths_are_left_out_aloud(
    tmp_path: Path, carried: Clip, caplog: pytest.LogCaptureFixture
) -> None:
    row = payload(tmp_path, carried).demonstration
    seen = np.ones(len(carried.frames), bool)
    centre = carried.centre[:, None] + np.array([[-6, -6], [6, -6], [6, 6]])
    a = lake(tmp_path / "a", row, {"wrist": wrist(carried.tips, seen), "object": objects(centre)})
    b = lake(tmp_path / "b", row, {"wrist": wrist(carried.tips[1:], seen[1:]), "object": objects(centre)})
    assert [one.cue for one in compare(read_annotator(a), read_annotator(b)).rows] == ["object"]
    assert "1 cues have another number of frames" in caplog.text
