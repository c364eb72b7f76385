"""A cue or an alignment that fails and comes in a later run: it reaches the verdict all the same."""

import json
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from av import VideoStream

from data_schemas.cues import WristTrack
from data_schemas.errors import BadInput
from data_schemas.pairs import Alignment, Verdict
from pipelines.alignment.stage import AlignStage
from pipelines.curate import STEPS, Curation
from pipelines.engine.executor import LocalExecutor
from pipelines.engine.lake import Lake
from pipelines.engine.ledger import requeue, unsolved
from pipelines.engine.stage import Outcome
from pipelines.inputs import PairInput, VideoInput
from pipelines.recipe import load_curate_recipe
from pipelines.wrists.base import wrist_track
from pipelines.wrists.human import HumanWristAnnotator
from tests.pipelines.alignment.made_pairs import true_pair

SIZE, RATE, FOCAL = 224, 10, 300
PAIR = true_pair(0)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A pair of videos that show nothing, with poses of the robot: the wrists are all there is to align on."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for name, points in (("h", PAIR.human_points), ("r", PAIR.robot_points)):
        with av.open(str(folder / f"{name}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=RATE)
            assert isinstance(stream, VideoStream)
            stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv420p"
            for i in range(len(points)):
                grey = np.full((SIZE, SIZE, 3), 90 + i % 3, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
            container.mux(stream.encode(None))
    centre = SIZE / 2
    robot = (PAIR.robot_points - centre) * 0.3 / FOCAL  # at 1 m, small enough to stay in the picture
    calibration = {
        "K": [[FOCAL, 0, centre], [0, FOCAL, centre], [0, 0, 1]],
        "effector_times": (np.arange(len(robot)) / RATE).tolist(),
        "effector_poses": [[x, y, 1, 1, 0, 0, 0] for x, y in robot],
    }
    (folder / "poses.json").write_text(json.dumps({"robot": calibration}))
    (folder / "pairs.csv").write_text(
        "pair_id,human,robot,instruction,calibration\n1,h.mp4,r.mp4,push the ball,poses.json\n"
    )
    return folder


class Hands:
    """What finds the human wrist: well, or failing in a way of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failure: BadInput | None = None
        monkeypatch.setattr(HumanWristAnnotator, "annotate", lambda annotator, clip: self.find(clip))

    def find(self, clip: VideoInput) -> WristTrack:
        if self.failure:
            raise self.failure
        count = len(PAIR.human_points)
        return wrist_track(clip.demonstration, "made@1", PAIR.human_points, np.ones(count), ["found"] * count)


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    return Hands(monkeypatch)


class Aligner:
    """The alignment, which can be made to fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failure: Exception | None = None
        process = AlignStage.process

        def fail_or_process(stage: AlignStage, batch: Sequence[PairInput]) -> list[Outcome]:
            if self.failure:
                raise self.failure
            return process(stage, batch)

        monkeypatch.setattr(AlignStage, "process", fail_or_process)


@pytest.fixture
def aligner(monkeypatch: pytest.MonkeyPatch) -> Aligner:
    return Aligner(monkeypatch)


def night(raw: Path, lake: Path, *changes: str) -> Curation:
    """All steps but those that need something accepted."""
    curation = Curation(load_curate_recipe("clips", changes), raw, Lake(lake), LocalExecutor())
    for step in STEPS[:-1]:
        step(curation)
    return curation


def alignments(curation: Curation) -> dict[str, str]:
    rows = curation.lake.read(Alignment, curation.keys["alignments"])
    return {i: row.cue for i, row in rows.items()}


def test_what_fails_for_now_is_waited_for(raw: Path, tmp_path: Path, hands: Hands) -> None:
    hands.failure = BadInput("hand_worker_died", "it died", retryable=True)
    first = night(raw, tmp_path / "lake")
    assert alignments(first) == {}
    assert first.lake.ids(Verdict, first.keys["verdicts"]) == set()
    hands.failure = None
    second, undisturbed = night(raw, tmp_path / "lake"), night(raw, tmp_path / "other")
    assert list(alignments(undisturbed).values()) == ["wrist"]
    assert alignments(second) == alignments(undisturbed)
    assert len(second.accepted()) == 1
    assert second.accepted() == undisturbed.accepted()


def test_what_is_requeued_is_judged_anew(raw: Path, tmp_path: Path, hands: Hands) -> None:
    hands.failure = BadInput("broken_hands", "for good")
    first = night(raw, tmp_path / "lake")
    (before,) = first.view.subjects
    assert first.lake.ids(Verdict, first.keys["verdicts"]) == {before}
    assert not first.accepted()
    hands.failure = None
    assert not night(raw, tmp_path / "lake").accepted()  # nobody has asked for another try
    requeue(first.lake, unsolved(first.lake, first.keys["wrist_tracks"]).values())
    second = night(raw, tmp_path / "lake")
    (subject,) = second.accepted()
    assert subject.subject_id != before
    assert alignments(second) == {subject.subject_id: "wrist"}
    assert first.lake.ids(Verdict, first.keys["verdicts"]) == {before, subject.subject_id}
    third = night(raw, tmp_path / "lake")
    assert third.accepted() == [subject]
    assert third.record.items_processed == 0


def test_a_moving_camera_of_unknown_motion_does_not_stand_still(
    raw: Path, tmp_path: Path, hands: Hands
) -> None:
    hands.failure = BadInput("broken_hands", "for good")  # without hands the camera is not followed
    curation = night(raw, tmp_path / "lake", "camera.moving=[human]", "alignment.cues=[wrist,features]")
    assert alignments(curation) == {}
    (verdict,) = curation.lake.read(Verdict, curation.keys["verdicts"]).values()
    assert "camera_lost" in verdict.reasons


@pytest.mark.parametrize(
    "failure",
    [ValueError("a bug"), OSError(5, "Input/output error"), BadInput("missing_file", "gone", retryable=True)],
    ids=["exception", "system", "retryable"],
)
def test_an_alignment_that_fails_for_now_is_waited_for(
    raw: Path, tmp_path: Path, hands: Hands, aligner: Aligner, failure: Exception
) -> None:
    aligner.failure = failure
    first = night(raw, tmp_path / "lake", "max_failed_fraction=1")
    assert first.lake.ids(Verdict, first.keys["verdicts"]) == set()
    aligner.failure = None
    second, undisturbed = night(raw, tmp_path / "lake"), night(raw, tmp_path / "other")
    assert len(second.accepted()) == 1
    assert second.accepted() == undisturbed.accepted()
    assert night(raw, tmp_path / "lake").record.items_processed == 0


def test_an_alignment_that_is_requeued_is_judged_in_the_run_that_makes_it(
    raw: Path, tmp_path: Path, hands: Hands, aligner: Aligner
) -> None:
    """Also where it fails for good once more, and is requeued once more."""
    seen: list[str] = []
    for _ in range(2):
        aligner.failure = BadInput("broken_pair", "for good")
        failing = night(raw, tmp_path / "lake", "max_failed_fraction=1")
        (subject,) = failing.view.subjects
        assert not failing.accepted()
        assert subject in failing.lake.ids(Verdict, failing.keys["verdicts"]), "judged without"
        seen.append(subject)
        aligner.failure = None
        assert not night(raw, tmp_path / "lake", "max_failed_fraction=1").accepted(), "nobody has asked"
        broken = unsolved(failing.lake, failing.keys["alignments"])
        requeue(failing.lake, [broken[subject]])
    (subject,) = night(raw, tmp_path / "lake").accepted()
    assert len({*seen, subject.subject_id}) == 3
    last = night(raw, tmp_path / "lake")
    assert last.accepted() == [subject]
    assert alignments(last) == {subject.subject_id: "wrist"}
    assert last.record.items_processed == 0
