"""Progress in Prefect's UI is shown where it can be, and never at the cost of the work."""

from uuid import uuid4

import httpx
import pytest

from flows import artifacts


def test_a_server_that_does_not_answer_stops_no_stage(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    calls: list[float] = []
    answers = [httpx.ReadTimeout("busy"), uuid4()]

    def create(progress: float, **_: str):
        calls.append(progress)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(artifacts, "create_progress_artifact", create)
    bars: list[int] = []
    show = artifacts.StageProgress(lambda stage, finished, total: bars.append(finished), "toys")
    for finished in range(3):
        show("ingest", finished, 4)
    assert calls == [0.0], "asked once, then left alone"
    assert "does not take the progress of ingest" in caplog.text
    monkeypatch.setattr(artifacts, "SILENT_SECONDS", 0.0)
    show = artifacts.StageProgress(lambda stage, finished, total: bars.append(finished), "toys")
    answers.insert(0, httpx.ReadTimeout("busy"))
    show("ingest", 0, 4)
    show("ingest", 1, 4)
    assert calls == [0.0, 0.0, 25.0]
    assert bars == [0, 1, 2, 0, 1]
