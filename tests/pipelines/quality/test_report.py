"""Parts of the report: pairs whose videos are gone, and cues seen by a camera that moves."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_schemas.camera import CameraMotion
from data_schemas.errors import UserError
from data_schemas.pairs import Alignment, Verdict
from harp.recipes import load_stage2_recipe
from harp.training.run_folder import RunFolder
from pipelines.engine.lake import Lake
from pipelines.inputs import Annotated
from pipelines.quality.report import figures, page
from pipelines.quality.report.contact_sheets import clip_row, stack_rows
from pipelines.quality.report.curated import Curated
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
    verdict = Verdict("p", "pair", True, [], [], [])
    curated = Curated([], {}, {"p": (clip, clip)}, {}, {"p": aligned(clip)}, [verdict], [], {})
    return page._pair_card(curated, verdict)


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
