"""Hands by a model in a real child process: what it says arrives, and its death, silence and errors are dealt with."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from data_schemas.cues import WristTrack
from data_schemas.errors import BadInput, UserError
from pipelines.engine.stage import Done
from pipelines.inputs import VideoInput
from pipelines.wrists import stage as stage_module
from pipelines.wrists.hand_worker.client import HandWorker
from pipelines.wrists.stage import WristConfig, WristStage
from pipelines.wrists.wilor import BATCH, WiLoRConfig, WorkerHands, wilor_hands

LOADER = Path(__file__).parent / "data" / "square_hands.py"
DIE, HANG, RAISE, MISCOUNT = 1, 2, 3, 4
Make = Callable[..., HandWorker]


@pytest.fixture
def make_worker(tmp_path: Path) -> Iterator[Make]:
    workers = []

    def make(reply_timeout: float = 20.0, **options: object) -> HandWorker:
        options = {"notes": str(tmp_path / "notes"), **options}
        workers.append(HandWorker(sys.executable, LOADER, options, 20.0, reply_timeout))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close()


def picture(x: int, y: int, colour: tuple[int, int, int] = (255, 255, 255), code: int = 0) -> np.ndarray:
    """A square of 5 pixels around (x, y); the first pixel tells the model how to behave."""
    frame = np.full((48, 64, 3), 20, np.uint8)
    frame[y - 2 : y + 3, x - 2 : x + 3] = colour
    frame[0, 0] = code
    return frame


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_hands_come_back_in_pixels_of_the_frame_with_their_side(make_worker: Make) -> None:
    detector = WorkerHands("squares@1", "CC0-1.0", make_worker())
    frames = np.stack(
        [picture(10 + t, 30) if t % 3 else np.zeros((48, 64, 3), np.uint8) for t in range(2 * BATCH + 3)]
    )
    frames[4] = picture(50, 7, (255, 0, 0))
    found = detector.detect(frames)
    assert [len(hands) for hands in found] == [int(t % 3 != 0) for t in range(len(frames))]
    for t in (1, 2, 2 * BATCH + 2):
        (hand,) = found[t]
        np.testing.assert_allclose(hand.wrist, [10 + t, 30], atol=0.5)
        np.testing.assert_allclose(hand.box, [8 + t, 28, 12 + t, 32], atol=0.5)
        assert (hand.confidence, hand.right) == (pytest.approx(0.8), 1.0)
    np.testing.assert_allclose(found[4][0].wrist, [50, 7])
    assert found[4][0].right == 0.0
    detector.close()


@pytest.mark.parametrize(("code", "timeout"), [(DIE, 20.0), (HANG, 1.0)])
def test_a_child_that_dies_or_hangs_is_started_again(make_worker: Make, code: int, timeout: float) -> None:
    worker = make_worker(reply_timeout=timeout)
    worker.start()
    assert worker._child is not None
    first = worker._child.pid
    (rows,) = worker.ask(picture(20, 20, code=code)[None])
    np.testing.assert_allclose(rows[0, :2], 20)
    assert worker._child.pid != first
    assert not alive(first)
    assert worker.memory_mb > 1


def test_frames_that_kill_it_twice_are_blamed_and_the_next_ones_are_served(make_worker: Make) -> None:
    worker = make_worker(once=False)
    with pytest.raises(BadInput, match="died or hung twice") as caught:
        worker.ask(picture(20, 20, code=DIE)[None])
    assert (caught.value.reason, caught.value.retryable) == ("hand_worker_died", True)
    assert len(worker.ask(picture(20, 20)[None])) == 1


@pytest.mark.parametrize(
    ("code", "sentence"), [(RAISE, "ValueError: no such hand"), (MISCOUNT, "for 0 frames, expected 1")]
)
def test_what_the_model_raises_is_passed_on_and_the_child_lives(
    make_worker: Make, code: int, sentence: str
) -> None:
    worker = make_worker()
    worker.start()
    assert worker._child is not None
    process = worker._child.pid
    with pytest.raises(BadInput, match=sentence) as caught:
        worker.ask(picture(20, 20, code=code)[None])
    assert caught.value.reason == "hand_worker_failed"
    assert len(worker.ask(picture(20, 20)[None])) == 1
    assert worker._child.pid == process


def test_the_child_ends_with_its_owner(make_worker: Make) -> None:
    """The owner's end of the connection closes when it is killed; nothing else is needed."""
    worker = make_worker()
    worker.start()
    child, connection = worker._child, worker._connection
    assert child is not None
    assert connection is not None
    connection.close()
    deadline = time.monotonic() + 10
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert child.poll() == 0


def test_a_child_that_does_not_come_up_says_why(make_worker: Make) -> None:
    with pytest.raises(UserError, match="RuntimeError: weights are missing"):
        make_worker(broken=True).start()
    with pytest.raises(UserError, match="/nowhere/python cannot be run"):
        HandWorker("/nowhere/python", LOADER).start()


def test_the_stage_runs_on_such_a_detector(
    make_worker: Make, make_clip: Callable[[np.ndarray], VideoInput], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The track is where the hand is; the stage ends its child."""
    worker = make_worker()
    monkeypatch.setitem(
        stage_module.DETECTORS, "wilor-mini", lambda *_: WorkerHands("wilor-mini@x", "test", worker)
    )
    stage = WristStage(WristConfig(detector="wilor-mini"))
    stage.setup()
    (outcome,) = stage.process([make_clip(np.stack([picture(10 + 3 * t, 24) for t in range(12)]))])
    assert isinstance(outcome, Done)
    assert isinstance(outcome.row, WristTrack)
    np.testing.assert_allclose(outcome.row.points[:, 0], 10 + 3 * np.arange(12), atol=1.0)
    assert outcome.row.source == "wilor-mini@x"
    stage.teardown()
    assert worker._child is None


def test_wilor_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HARP_WILOR_PYTHON", "HARP_MANO_FILE", "HARP_WEIGHTS_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HARP_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="set HARP_WILOR_PYTHON"):
        wilor_hands(WiLoRConfig())
    monkeypatch.setenv("HARP_WILOR_PYTHON", sys.executable)
    with pytest.raises(UserError, match="HARP_MANO_FILE is not set"):
        wilor_hands(WiLoRConfig())
    mano = tmp_path / "MANO_RIGHT.pkl"
    mano.write_bytes(b"")
    monkeypatch.setenv("HARP_MANO_FILE", str(mano))
    with pytest.raises(UserError, match=r"harp weights pull wilor-mini.*CC-BY-NC-ND"):
        wilor_hands(WiLoRConfig())
