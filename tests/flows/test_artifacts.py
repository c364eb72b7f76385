"""Progress in Prefect's UI is shown where it can be, and never at the cost of the work."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast
from uuid import uuid4

import httpx
import pytest
from prefect.exceptions import ObjectAlreadyExists

from flows import artifacts, label
from pipelines.curate import Curation
from pipelines.runs import RunRecord


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


def test_what_was_published_stays_so_where_the_server_takes_no_artifact(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def away(*_: object, **__: object):
        raise httpx.ConnectError("no server")

    monkeypatch.setattr(artifacts, "create_table_artifact", away)
    monkeypatch.setattr(artifacts, "create_markdown_artifact", away)
    monkeypatch.setattr(artifacts, "digest", lambda *_: "# a page")
    record = RunRecord(run_id="run", dataset="toys", recipe={}, raw_root="", executor="", started_at="")
    artifacts.counts_table(record)
    artifacts.digest_page(cast(Curation, SimpleNamespace(record=record, lake=None, view=None)))
    assert "does not take the table of counts" in caplog.text
    assert "does not take the page with pictures" in caplog.text


def test_labels_stay_where_the_server_takes_no_artifact(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
):
    def away(*_: object, **__: object):
        raise ObjectAlreadyExists(Exception("labels"))

    labels = SimpleNamespace(key="k", version_id="v", model="m", clips=1, transitions=2, left_out={})
    done = SimpleNamespace(labels=labels, summary=SimpleNamespace(seconds=1.0))
    monkeypatch.setattr(label, "find_version", lambda *_: tmp_path)
    monkeypatch.setattr(label, "label_clips", lambda *_: done)
    monkeypatch.setattr(label, "create_table_artifact", away)
    assert label.label.fn("lake", model="run") == "k"
    assert "does not take the table of labels" in caplog.text


def test_what_is_no_fault_of_the_server_is_raised():
    with pytest.raises(KeyError), artifacts.tolerated("a table"):
        raise KeyError("a bug")
