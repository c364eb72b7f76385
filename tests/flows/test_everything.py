"""The main job, end to end and for real: a Prefect server, a Ray cluster, rendered videos, a trained encoder."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from prefect.testing.utilities import prefect_test_harness

from data_schemas.errors import UserError
from flows.curate import curate
from flows.everything import everything
from pipelines.cli import console, print_problems
from pipelines.engine.lake import Lake
from pipelines.left_out import problems
from pipelines.quality.report.page import write_report
from pipelines.runs import RunRecord
from pipelines.shards.publish import list_versions

PAIRS = 4  # of these two are held out
SEED = 3
TRIALS = "stage3/evaluation/tabletop/trials.jsonl"
QUICK: dict[str, Any] = {
    "overrides": ["training.steps=6", "data.pairs_per_batch=2", "evaluation_frames=2"],
    "demonstrations": 2,
    "trials": 1,
    "stage2_overrides": ["training.steps=3", "data.batch_size=4", "test_transitions=4"],
    "stage3_overrides": ["training.steps=3", "data.batch_size=4", "test_steps=4"],
}


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "180"
    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("everything")


def run(out: Path) -> RunRecord:
    return cast(RunRecord, everything(str(out), pairs=PAIRS, seed=SEED, **QUICK))


@pytest.fixture(scope="module")
def first(server: None, out: Path) -> RunRecord:
    return run(out)


def test_the_first_run_publishes_pairs_and_measures_them(first: RunRecord, out: Path):
    (version,) = list_versions(Lake(out / "lake"))
    assert version.version_id == first.version_id
    assert version.counts["train_pairs"] + version.counts["held_out_pairs"] == version.counts["pairs"]
    assert version.counts["pairs"] >= PAIRS - 1, "at most one simulated pair may be judged unfit"
    assert version.counts["held_out_pairs"] >= 2
    evaluation = json.loads((out / "stage1" / "evaluation" / "evaluation.json").read_text())
    assert evaluation["num_pairs"] == version.counts["held_out_pairs"]
    assert {"unadapted", "stage 1"} < set(evaluation["rows"])


@pytest.mark.parametrize("stage", ["overrides", "stage2_overrides", "stage3_overrides"])
def test_a_wrong_change_is_found_before_anything_is_made(stage: str, tmp_path: Path):
    changes: dict[str, Any] = {stage: ["foo=1"]}
    with pytest.raises(UserError, match="foo"):
        everything.fn(str(tmp_path / "out"), **changes)
    assert not (tmp_path / "out").exists()


def test_a_policy_pretrained_on_labels_acts(first: RunRecord, out: Path):
    stage2 = json.loads((out / "stage2" / "config.json").read_text())
    (labels,) = (out / "lake" / "labels").glob("*.json")
    assert [source["labels"] for source in stage2["data"]["sources"]] == [labels.stem]
    stage3 = json.loads((out / "stage3" / "config.json").read_text())
    assert stage3["start"].startswith("policy@")
    evaluation = json.loads((out / "stage3" / "evaluation" / "tabletop" / "evaluation.json").read_text())
    (trial,) = evaluation["trials"]
    assert (trial["task"], trial["index"]) == ("press", 0)
    assert trial["seed"] == SEED, "the policy acts at the table of its demonstrations"


def test_the_report_shows_every_pair_and_loads_nothing(first: RunRecord, out: Path):
    page = (out / "report.html").read_text()
    assert page.count('class="sheet"') == PAIRS
    assert "Do human and robot videos meet?" in page
    assert "A policy that acts" in page
    assert page.count("<video") == 1
    for loaded in ('src="http', "<script", "@import", 'href="http'):
        assert loaded not in page


def test_a_second_run_computes_nothing(first: RunRecord, out: Path):
    before = {path: path.stat().st_mtime_ns for path in (out / "lake" / "shards").rglob("*.tar")}
    trials = (out / TRIALS).read_text()
    second = run(out)
    assert second.items_processed == 0
    assert (second.version_id, second.version_is_new) == (first.version_id, False)
    assert {path: path.stat().st_mtime_ns for path in (out / "lake" / "shards").rglob("*.tar")} == before
    assert (out / TRIALS).read_text() == trials


def test_damage_is_named_and_stops_nothing_else(first: RunRecord, out: Path, tmp_path: Path):
    raw = tmp_path / "raw"
    shutil.copytree(out / "raw", raw)
    videos = sorted(raw.glob("RH20T_cfg8/task_*/cam_*/color.mp4"))
    robots = [path for path in videos if not path.parents[1].name.endswith("_human")]
    corrupted, truncated, removed = robots[0], robots[1], robots[2]
    content = bytearray(corrupted.read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    corrupted.write_bytes(content)
    with truncated.open("r+b") as file:
        file.truncate(truncated.stat().st_size // 2)
    shutil.rmtree(removed.parents[1])

    record = curate("tabletop", str(raw), str(out / "lake"))

    lake = Lake(out / "lake")
    named = {entry.label.split(" ")[0].split("/")[-1]: entry.reason for entry in problems(lake, record)}
    assert named[corrupted.parents[1].name] in ("corrupt_frames", "unreadable_video")
    assert named[truncated.parents[1].name] == "truncated_video"
    verdicts = {stage.name: stage for stage in record.stages}["verdicts"]
    assert verdicts.total == PAIRS  # three pairs, and three halves that lost their partner
    page = tmp_path / "report.html"
    write_report(lake, page)
    assert page.read_text().count("missing_half") >= 3
    with console.capture() as printed:
        print_problems(lake, record, limit=20)
    for reason in (named[corrupted.parents[1].name], "truncated_video", "missing_half"):
        assert reason in printed.get()
    assert record.version_id != first.version_id
    assert {v.version_id for v in list_versions(lake)} >= {record.version_id, first.version_id}
