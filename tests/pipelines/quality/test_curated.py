"""What a report shows is what the stages were given."""

from pathlib import Path

import numpy as np
import pytest

from data_schemas.cues import WristTrack
from data_schemas.errors import BadInput
from pipelines.curate import Curation
from pipelines.engine.executor import LocalExecutor
from pipelines.engine.lake import Lake
from pipelines.engine.ledger import requeue, unsolved
from pipelines.inputs import VideoInput
from pipelines.quality.report.curated import load_curated
from pipelines.recipe import load_curate_recipe
from pipelines.wrists.base import wrist_track
from pipelines.wrists.human import HumanWristAnnotator
from tests.pipelines.datasets.made_rh20t import write_video

HEADER = "pair_id,human,robot,instruction"


class Wrists:
    """What finds wrists: nowhere, or failing for good on one video."""

    broken: str | None = None

    def find(self, clip: VideoInput) -> WristTrack:
        if clip.demonstration.source == self.broken:
            raise BadInput("broken_wrists", "for good")
        count = clip.demonstration.num_frames
        return wrist_track(
            clip.demonstration, "made@1", np.zeros((count, 2)), np.zeros(count), ["not_found"] * count
        )


@pytest.fixture(autouse=True)
def wrists(monkeypatch: pytest.MonkeyPatch) -> Wrists:
    made = Wrists()
    monkeypatch.setattr(HumanWristAnnotator, "annotate", lambda annotator, clip: made.find(clip))
    return made


def judged(root: Path, *lines: str) -> Curation:
    """The curation of a table, with wrists for cues."""
    (root / "pairs.csv").write_text("\n".join((HEADER, *lines)) + "\n")
    curation = Curation(load_curate_recipe("clips"), root, Lake(root / "lake"), LocalExecutor())
    curation.ingest()
    curation.find_wrists()
    curation.judge()
    return curation


def test_pairs_are_those_that_were_judged(tmp_path: Path) -> None:
    """Pair q uses a copy of pair p's human video, which is one demonstration: p's."""
    lines = []
    for i in range(6):
        for seed, name in enumerate((f"h{i}", f"r{i}", f"s{i}")):
            write_video(tmp_path / f"{name}.mp4", frames=4, seed=3 * i + seed)
        (tmp_path / f"copy{i}.mp4").write_bytes((tmp_path / f"h{i}.mp4").read_bytes())
        lines += [f"p{i},h{i}.mp4,r{i}.mp4,push", f"q{i},copy{i}.mp4,s{i}.mp4,push"]
    curation = judged(tmp_path, *lines)
    curated = load_curated(curation.lake, curation.record)
    shown = {i: (h.demonstration.source, r.demonstration.source) for i, (h, r) in curated.halves.items()}
    pairs = curation.view.pairs
    assert shown == {i: (pair.human.source, pair.robot.source) for i, pair in pairs.items()}
    assert len(shown) == 6
    assert {verdict.subject_id for verdict in curated.verdicts} == set(curation.view.subjects)


def test_a_clip_that_is_judged_anew_is_shown_once(tmp_path: Path, wrists: Wrists) -> None:
    """Its wrists came after the first verdict, which the lake keeps."""
    for seed, name in enumerate(("early", "late")):
        write_video(tmp_path / f"{name}.mp4", frames=4, seed=seed)
    lines = ",early.mp4,,push", ",late.mp4,,push"
    wrists.broken = "late.mp4"
    before = judged(tmp_path, *lines)
    wrists.broken = None
    requeue(before.lake, unsolved(before.lake, before.keys["wrist_tracks"]).values())
    curation = judged(tmp_path, *lines)
    curated = load_curated(curation.lake, curation.record)
    ids = [verdict.subject_id for verdict in curated.verdicts]
    assert sorted(ids) == list(curation.view.subjects)
    assert len(set(ids) & set(before.view.subjects)) == 1
    assert {curated.subject(i).source for i in ids} == {"early.mp4", "late.mp4"}
