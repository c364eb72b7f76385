"""Parts of the report: pairs whose videos are gone, and cues seen by a camera that moves."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_schemas.camera import CameraMotion
from data_schemas.cues import WristTrack
from data_schemas.demonstrations import Demonstration
from data_schemas.errors import UserError
from data_schemas.pairs import Alignment, Verdict
from harp.recipes import load_stage2_recipe
from harp.training.run_folder import RunFolder
from pipelines.engine.lake import Lake
from pipelines.inputs import Annotated, VerdictInput
from pipelines.pairing import Pair
from pipelines.quality.report import figures, page
from pipelines.quality.report.contact_sheets import clip_row, stack_rows
from pipelines.quality.report.curated import Aligned, Curated, Judged
from pipelines.runs import RunRecord, StageRecord, new_run_id, save_run
from tests.pipelines.objects.conftest import make_clip
from tests.pipelines.objects.test_agreement import lake
from tests.pipelines.objects.test_stage import payload


@pytest.fixture
def clip(tmp_path: Path) -> Annotated:
    item = payload(tmp_path, make_clip())
    return Annotated(item.demonstration, tmp_path, item.wrist, None)


def aligned(clip: Annotated) -> Alignment:
    index = np.arange(clip.demonstration.num_frames)
    return Alignment("p", "d", "d", "wrist", index, np.column_stack([index, index]), 0.1, 1.0)


def card(clip: Annotated) -> dict:
    pair = VerdictInput("p", clip, clip, aligned(clip), False)
    return page.pair_card(pair, Judged("p", "pair", True, []))


def test_a_pair_whose_videos_are_gone_keeps_its_card(clip: Annotated) -> None:
    whole = card(clip)
    assert whole["sheet"].startswith("data:image/jpeg;base64,")
    clip.video_path.unlink()
    rest = card(clip)
    assert rest["sheet"] == ""
    assert "clip.mp4" in rest["missing"]
    assert (rest["facts"], rest["plot"]) == (whole["facts"], whole["plot"])


def test_rows_get_the_width_of_the_narrowest(clip: Annotated) -> None:
    narrow, wide = clip_row(clip, [0, 10]), clip_row(clip, [0, 10, 20])
    assert stack_rows([wide, narrow]).shape[1] == narrow.shape[1] < wide.shape[1]


def test_heights_are_those_in_the_scene(clip: Annotated) -> None:
    """A camera that sinks by 2 px a frame: what is still in the picture sinks with it."""
    assert clip.wrist is not None
    still = figures._cue_height("wrist", clip)
    frames = np.arange(len(still))
    transforms = np.tile(np.eye(3), (len(frames), 1, 1))
    transforms[:, 1, 2] = 2.0 * frames
    camera = CameraMotion("d", "made@1", transforms, np.ones(len(frames), np.float32))
    moving = figures._cue_height("wrist", replace(clip, camera=camera))
    np.testing.assert_allclose(moving, still - 2.0 * frames, atol=1e-3)


def curated_pair(folder: Path, clip: Annotated, moving: list[str]) -> Lake:
    """A lake with one pair, whose camera motion was not found."""
    made = Lake(folder)
    sides = {
        side: replace(clip.demonstration, demonstration_id=side, embodiment=side, pair_key="p", source=side)
        for side in ("human", "robot")
    }
    pair_id = Pair(*sides.values()).pair_id
    made.append(Demonstration, "ingest-key", list(sides.items()))
    assert clip.wrist is not None
    tracks = [(side, replace(clip.wrist, demonstration_id=side)) for side in sides]
    made.append(WristTrack, "wrist_tracks-key", tracks)
    made.append(Alignment, "alignments-key", [(pair_id, replace(aligned(clip), pair_id=pair_id))])
    made.append(
        Verdict, "verdicts-key", [(pair_id, Verdict(pair_id, "pair", False, ["camera_lost"], [], []))]
    )
    record = RunRecord(
        run_id=new_run_id("made"), dataset="made", recipe={"camera": {"moving": moving}}, executor="local",
        raw_root=str(clip.raw_root), started_at="2026-01-01T00:00:00", sources=list(sides),
        stages=[
            StageRecord(
                name=name, key=f"{name}-key", total=1, processed=1, already_done=0, done=1, filtered={}, failed={},
                seconds=0.0,
            )
            for name in ("ingest", "wrist_tracks", "camera_motion", "object_tracks", "alignments", "verdicts")
        ],
    )  # fmt: skip
    save_run(made, record)
    return made


@pytest.mark.parametrize("moving", [[], ["human"]])
def test_a_camera_that_moves_and_is_not_known_does_not_stand_still(
    clip: Annotated, tmp_path: Path, moving: list[str]
) -> None:
    page.write_report(curated_pair(tmp_path / "lake", clip, moving), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert text.count('class="sheet"') == 1
    assert "camera_lost 1" in text
    assert "DTW path" in text
    assert ("height in image" in text) == (not moving)


def test_pairs_worth_showing_are_rejected_ones_and_the_whole_range_of_costs() -> None:
    verdicts = [Judged(f"r{i}", "pair", False, ["static_clip"]) for i in range(9)]
    verdicts += [Judged(f"h{i}", "human", True, []) for i in range(9)]
    verdicts += [Judged(f"a{i}", "pair", True, []) for i in range(9)]
    alignments = {f"a{i}": Aligned("wrist", (5 * i) % 9 / 10) for i in range(9)}
    curated = Curated(27, verdicts, alignments, {}, {}, [], {})
    shown = [verdict.subject_id for verdict in page.worth_showing(curated, 6)]
    assert shown[:3] == ["r0", "r1", "r2"]
    assert [alignments[i].cost for i in shown[3:]] == [0.0, 0.4, 0.8]


def test_a_cue_that_is_nowhere_seen_on_both_sides_at_once_is_not_plotted(
    clip: Annotated,
) -> None:
    assert clip.wrist is not None
    unseen = replace(clip, wrist=replace(clip.wrist, visible=np.zeros_like(clip.wrist.visible)))
    svg = figures.alignment_plot(aligned(clip), clip, unseen)
    assert "DTW path" in svg
    assert "height in image" not in svg


def test_a_training_that_is_not_there_and_a_page_that_cannot_be_written_are_one_sentence(
    clip: Annotated, tmp_path: Path
) -> None:
    folder = Lake(lake(tmp_path / "lake", clip.demonstration, {}))
    with pytest.raises(UserError, match=r"There is no training at .*nowhere"):
        page.write_report(folder, tmp_path / "report.html", training=tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"There is no training at .*nowhere"):
        page.write_report(folder, tmp_path / "report.html", policy=(None, tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"cannot be written to .*clip.mp4/report.html \(File exists\)"):
        page.write_report(folder, clip.video_path / "report.html")


def test_a_training_of_another_stage_is_refused(clip: Annotated, tmp_path: Path) -> None:
    folder = Lake(lake(tmp_path / "lake", clip.demonstration, {}))
    stage2, out = tmp_path / "stage2", tmp_path / "report.html"
    RunFolder(stage2, load_stage2_recipe("tiny"))
    with pytest.raises(UserError, match="stage2 holds no run of stage 1"):
        page.write_report(folder, out, training=stage2)
    with pytest.raises(UserError, match="stage2 holds no run of stage 3"):
        page.write_report(folder, out, policy=(stage2, stage2))
    with pytest.raises(UserError, match="lake holds no run of stage 2"):
        page.write_report(folder, out, policy=(tmp_path / "lake", stage2))
    assert not out.exists()
