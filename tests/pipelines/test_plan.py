"""Plans against ledgers whose costs are known, and data sets whose frames are counted."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from data_schemas.errors import UserError
from data_schemas.ledger import LedgerEntry
from data_schemas.pairs import Shard
from pipelines.cli import app
from pipelines.curate import make_stages, stage_keys
from pipelines.engine import ledger
from pipelines.engine.lake import Lake
from pipelines.engine.stage import Resources
from pipelines.plan import (
    DatasetSize,
    Machine,
    StageCost,
    bytes_per_frame,
    estimate,
    measure,
    survey,
    workers_of,
)
from pipelines.recipe import load_curate_recipe
from tests.pipelines.alignment.made_pairs import demonstration

HUMANS, ROBOTS = (10, 30), (20, 60)
"""Frames of the demonstrations that were curated."""


def entry(item: str, stage: str, key: str, seconds: float, **changes: Any) -> LedgerEntry:
    values: dict[str, Any] = {
        "item_id": item, "label": item, "stage": stage, "stage_key": key, "run_id": "r", "attempt": 1,
        "outcome": "done", "reason": "", "detail": "", "retryable": False, "worker": "w", "seconds": seconds,
        "peak_memory_mb": 500.0, "finished_at": "2026-01-01",
    }  # fmt: skip
    return LedgerEntry(**{**values, **changes})


def keys_of(lake: Lake) -> dict[str, str]:
    return stage_keys(make_stages(load_curate_recipe("clips"), lake))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Wrists cost 0.1 s per human frame and 1 ms per robot frame; pairs 0.6 s in all; a shard 0.24 s."""
    lake = Lake(tmp_path / "lake")
    keys = keys_of(lake)
    rows = [(f"h{n}", demonstration("human", n)) for n in HUMANS]
    rows += [(f"r{n}", demonstration("robot", n)) for n in ROBOTS]
    lake.append(type(rows[0][1]), keys["ingest"], [(f"source-{item}", row) for item, row in rows])
    for item, row in rows:
        ledger.record(lake, keys["ingest"], [entry(f"source-{item}", "ingest", keys["ingest"], 0.0)])
        seconds = row.num_frames * (0.1 if row.embodiment == "human" else 0.001)
        ledger.record(
            lake,
            keys["wrist_tracks"],
            [
                entry(
                    row.demonstration_id, "wrist_tracks", keys["wrist_tracks"], seconds, gpu_memory_mb=70.0
                ),
            ],
        )
    ledger.record(
        lake,
        keys["alignments"],
        [
            entry("p1", "alignments", keys["alignments"], 0.2),
            entry("p2", "alignments", keys["alignments"], 0.4, peak_memory_mb=900.0),
            entry("p2", "alignments", keys["alignments"], 99.0, outcome="requeued"),
            entry("p2", "alignments", keys["alignments"], 99.0, reason=ledger.ALREADY_DONE),
        ],
    )
    lake.append(Shard, keys["shards"], [("s", Shard("s", "x.tar", "0", 24_000, 4, 80))])
    return lake


def test_costs_per_frame_are_read_off_the_ledger(lake: Lake) -> None:
    costs = measure(lake, keys_of(lake))
    assert set(costs) == {"ingest", "wrist_tracks", "alignments"}
    assert costs["wrist_tracks"].seconds_per_frame == pytest.approx({"human": 0.1, "robot": 0.001})
    assert costs["wrist_tracks"].gpu_memory_mb == 70
    each = 0.6 / (sum(HUMANS) + sum(ROBOTS))
    assert costs["alignments"].seconds_per_frame == pytest.approx({"human": each, "robot": each})
    assert costs["alignments"].peak_memory_mb == 900
    assert bytes_per_frame(lake, keys_of(lake)) == pytest.approx(24_000 / 120)


def test_what_failed_attempts_took_counts(lake: Lake) -> None:
    """Another attempt at a human clip of 10 frames, and one at a clip that never became a demonstration."""
    keys = keys_of(lake)
    again = entry("human-10", "wrist_tracks", keys["wrist_tracks"], 2.0, outcome="failed", attempt=2)
    nobody = entry("nobody", "wrist_tracks", keys["wrist_tracks"], 1.2, outcome="failed")
    ledger.record(lake, keys["wrist_tracks"], [again, nobody])
    costs = measure(lake, keys)["wrist_tracks"].seconds_per_frame
    assert costs == pytest.approx({"human": 6.0 / 40 + 0.01, "robot": 0.001 + 0.01})


def write_video(path: Path, frames: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(frames):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Ten pairs; human clips have 10, 11, … 19 frames, robot clips 30."""
    root = tmp_path / "raw"
    lines = ["pair_id,human,robot,instruction"]
    for n in range(10):
        write_video(root / f"h{n}.mp4", 10 + n)
        write_video(root / f"r{n}.mp4", 30)
        lines.append(f"{n},h{n}.mp4,r{n}.mp4,push the plate")
    (root / "pairs.csv").write_text("\n".join(lines) + "\n")
    return root


def test_a_survey_counts_clips_and_frames(raw: Path) -> None:
    reader = load_curate_recipe("clips").make_reader()
    whole = survey(reader, raw)
    assert whole.clips == {"human": 10, "robot": 10}
    assert whole.frames == pytest.approx({"human": 145, "robot": 300})
    assert (whole.error, whole.unreadable) == (0.0, 0)
    part = survey(reader, raw, counted=4)
    assert part.frames["robot"] == pytest.approx(300)
    assert abs(part.frames["human"] - 145) < 2 * part.error
    (raw / "h3.mp4").write_bytes(b"no video")
    assert survey(reader, raw).unreadable == 1


def test_workers_share_the_machine() -> None:
    cost = StageCost(1, {}, peak_memory_mb=2048, gpu_memory_mb=0)
    machine = Machine(cpus=16, gpus=2, memory_gb=10)
    assert workers_of("x", Resources(cpus=1), cost, machine) == 5
    assert workers_of("x", Resources(cpus=8), cost, machine) == 2
    assert workers_of("x", Resources(cpus=1, gpus=0.5), cost, machine) == 4
    assert workers_of("x", Resources(cpus=1, gpus=None), cost, machine) == 2
    assert workers_of("x", Resources(cpus=1, gpus=None), cost, Machine(16, 0, 10)) == 5
    assert workers_of("x", Resources(cpus=1, memory_gb=4), cost, machine) == 2
    with pytest.raises(UserError, match="x needs 3 GPUs, the plan has 2"):
        workers_of("x", Resources(gpus=3), cost, machine)


def test_an_estimate_is_cost_times_frames_over_workers() -> None:
    stages = make_stages(load_curate_recipe("clips"), Lake("nowhere"))
    costs: Mapping[str, StageCost] = {
        "wrist_tracks": StageCost(4, {"human": 0.1, "robot": 0.001}, 500, 0),
        "alignments": StageCost(2, {"human": 0.002, "robot": 0.002}, 900, 0),
    }
    size = DatasetSize({"human": 5, "robot": 5}, {"human": 1000, "robot": 3000}, 0.0, 0)
    wrists, alignments = estimate(costs, size, stages, Machine(4, 0, 64))
    assert (wrists.stage, wrists.workers) == ("wrist_tracks", 4)
    assert wrists.work_seconds == pytest.approx(103)
    assert wrists.seconds == pytest.approx(103 / 4)
    assert alignments.work_seconds == pytest.approx(8)


def test_the_command(lake: Lake, raw: Path) -> None:
    arguments = ["plan", "clips", "--root", str(raw), "--lake", lake.root, "--cpus", "2"]
    shown = CliRunner(env={"COLUMNS": "160"}).invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    assert "10 human, 10 robot clips, 445 frames" in shown.output
    (wrists,) = [line.split() for line in shown.output.splitlines() if "wrist tracks" in line]
    assert wrists[2:6] == ["100.00", "1.00", "0:00:15", "2"]  # 145 * 0.1 s + 300 * 0.001 s
    unmeasured = next(line for line in shown.output.splitlines() if "Not measured" in line)
    assert "object tracks" in unmeasured
    assert "camera motion" not in unmeasured, "the recipe's cameras stand still"
    empty = CliRunner().invoke(app, [*arguments[:-4], "--lake", lake.root + "2"])
    assert isinstance(empty.exception, UserError)
    assert "add --sample 16" in str(empty.exception)


def test_entries_from_before_a_column_existed_have_its_default() -> None:
    record = replace(entry("a", "s", "k", 1.0)).to_record() | {"gpu_memory_mb": None, "part": None}
    old = LedgerEntry.from_record(record)
    assert (old.gpu_memory_mb, old.part) == (0.0, "")
