"""What a report shows is what the stages were given."""

from pathlib import Path

import numpy as np
import pytest
from deltalake import DeltaTable

from data_schemas.cues import WristTrack
from data_schemas.errors import BadInput
from data_schemas.pairs import Verdict
from pipelines.curate import Curation
from pipelines.engine.executor import LocalExecutor
from pipelines.engine.lake import Lake
from pipelines.engine.ledger import requeue, unsolved
from pipelines.inputs import VideoInput
from pipelines.outlines import RunView
from pipelines.quality.report.curated import load_curated
from pipelines.quality.report.page import write_report
from pipelines.quality.report.verdict_table import verdict_table
from pipelines.recipe import load_curate_recipe
from pipelines.runs import save_run
from pipelines.wrists.base import wrist_track
from pipelines.wrists.human import HumanWristAnnotator
from tests.pipelines.datasets.made_rh20t import write_video

HEADER = "pair_id,human,robot,instruction"


class Wrists:
    """What finds wrists: in the first so many frames of a video, or failing for good on one."""

    broken: str | None = None

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}

    def find(self, clip: VideoInput) -> WristTrack:
        if clip.demonstration.source == self.broken:
            raise BadInput("broken_wrists", "for good")
        count = clip.demonstration.num_frames
        seen = self.seen.get(clip.demonstration.source, 0)
        flags = ["found"] * seen + ["not_found"] * (count - seen)
        return wrist_track(clip.demonstration, "made@1", np.zeros((count, 2)), np.zeros(count), flags)


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
    view = RunView.of(curation.lake, curation.record)
    curated = load_curated(curation.lake, curation.record, view)
    assert curated.num_clips == len(curation.view.outlines) == 18
    assert {verdict.subject_id for verdict in curated.pairs} == set(curation.view.pairs)
    assert len(curated.pairs) == 6
    assert {verdict.subject_id for verdict in curated.verdicts} == set(curation.view.subjects)
    table = verdict_table(curation.lake, curation.record, view, curated.verdicts)
    subjects = (curation.view.subjects[verdict.subject_id] for verdict in curated.verdicts)
    assert [line["label"] for line in table["lines"]] == [s.reference.source for s in subjects]


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
    view = RunView.of(curation.lake, curation.record)
    curated = load_curated(curation.lake, curation.record, view)
    ids = [verdict.subject_id for verdict in curated.verdicts]
    assert sorted(ids) == list(curation.view.subjects)
    assert len(set(ids) & set(before.view.subjects)) == 1
    assert {view.subjects[i].reference.source for i in ids} == {"early.mp4", "late.mp4"}


def test_shares_are_of_the_runs_own_clips(tmp_path: Path, wrists: Wrists) -> None:
    """Clips of different lengths, some of them of an earlier run; rows come in several batches of the table."""
    lengths = {"a": 3, "b": 7, "c": 5, "gone": 4}
    for seed, (name, frames) in enumerate(lengths.items()):
        write_video(tmp_path / f"{name}.mp4", frames=frames, seed=seed)
    seen = {"a.mp4": 0, "b.mp4": 5, "c.mp4": 5, "gone.mp4": 1}
    wrists.seen = seen
    judged(tmp_path, ",gone.mp4,,push")
    curation = judged(tmp_path, ",a.mp4,,push", ",b.mp4,,push", ",,c.mp4,push")
    curated = load_curated(curation.lake, curation.record, RunView.of(curation.lake, curation.record))
    assert {side: sorted(shares) for side, shares in curated.wrists.items()} == {
        "human": [0.0, 5 / 7],
        "robot": [0.0],  # without poses nothing is projected
    }
    assert curated.objects == {"human": [], "robot": []}
    assert "made@1" in curated.models


def test_the_table_ends_after_so_many_rows_and_says_where_the_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(4):
        write_video(tmp_path / f"{seed}.mp4", frames=4, seed=seed)
    curation = judged(tmp_path, *(f",{i}.mp4,,push {i}" for i in range(4)))
    view = RunView.of(curation.lake, curation.record)
    verdicts = load_curated(curation.lake, curation.record, view).verdicts
    monkeypatch.setattr("pipelines.quality.report.verdict_table.MAX_ROWS", 3)
    table = verdict_table(curation.lake, curation.record, view, verdicts)
    assert (table["total"], len(table["lines"]), table["more"]) == (4, 3, 1)
    assert all(line["instruction"] == f"push {Path(line['label']).stem}" for line in table["lines"])
    everything = eval(table["read"], {"DeltaTable": DeltaTable})  # noqa: S307, the page tells a reader to type it
    assert sorted(everything["subject_id"].to_pylist()) == sorted(v.subject_id for v in verdicts)
    row = curation.lake.read(Verdict, curation.keys["verdicts"])[verdicts[0].subject_id]
    assert table["columns"] == [name.replace("_", " ") for name in row.metric_names]


def test_a_run_that_was_stopped_in_its_first_stage_has_a_report(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", frames=4)
    lake = Lake(tmp_path / "lake")
    (tmp_path / "pairs.csv").write_text(f"{HEADER}\n,a.mp4,,push\n")
    curation = Curation(load_curate_recipe("clips"), tmp_path, lake, LocalExecutor())
    save_run(lake, curation.record)
    write_report(lake, tmp_path / "report.html")
    assert "No pair has been aligned" in (tmp_path / "report.html").read_text()
