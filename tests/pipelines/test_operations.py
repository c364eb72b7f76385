"""Looking after a lake through its commands: a small simulated data set, curated once, then operated on."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from data_schemas.errors import UserError
from data_schemas.ledger import LedgerEntry
from data_schemas.pairs import Alignment, Verdict
from pipelines.cli import app, console, print_run
from pipelines.curate import Curation
from pipelines.engine.executor import LocalExecutor
from pipelines.engine.lake import Lake
from pipelines.engine.ledger import now, record
from pipelines.recipe import load_curate_recipe
from pipelines.runs import RunRecord, StageRecord, latest_run, new_run_id, save_run
from pipelines.shards.publish import list_versions
from simulation.tabletop import TabletopConfig, generate


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of a pair and a half, as one video of the second is truncated."""
    folder = tmp_path_factory.mktemp("operations")
    generate(TabletopConfig(out=folder / "raw", pairs=2, seed=0))
    broken = min((folder / "raw").glob("RH20T_cfg8/task_*/cam_*/color.mp4"))
    with broken.open("r+b") as file:
        file.truncate(broken.stat().st_size // 2)
    arguments = ["curate", "tabletop", "--root", str(folder / "raw"), "--executor", "local"]
    run_command(folder / "lake", *arguments)
    return folder / "lake"


@pytest.fixture
def lake(curated: Path, tmp_path: Path) -> Path:
    shutil.copytree(curated, tmp_path / "lake")
    return tmp_path / "lake"


def run_command(lake: Path, *arguments: str, status: int = 0) -> Result:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*arguments, "--lake", str(lake)])
    if isinstance(result.exception, UserError):
        raise result.exception
    assert result.exit_code == status, f"{result.output}\n{result.exception!r}"
    return result


def keys(lake: Path) -> dict[str, str]:
    return latest_run(Lake(lake)).stage_keys


def test_status_counts_what_the_run_did(lake: Path) -> None:
    lines = run_command(lake, "status").output.splitlines()
    (ingest,) = [line.split() for line in lines if line.strip().startswith("ingest")]
    assert ingest[1:5] == ["4", "3", "truncated_video", "1"]


def test_quarantine_shows_and_requeues(lake: Path) -> None:
    listed = run_command(lake, "quarantine", "list").output
    (line,) = [x for x in listed.splitlines() if "truncated_video" in x]
    item = line.split()[0]
    assert f"harp quarantine requeue ITEM --lake {lake}" in listed
    shown = run_command(lake, "quarantine", "show", item).output
    assert "attempt 1: failed truncated_video" in shown
    assert "MB on" in shown
    with pytest.raises(UserError, match="Not in quarantine: nobody"):
        run_command(lake, "quarantine", "requeue", "nobody")
    run_command(lake, "quarantine", "requeue", item, "--stage", "ingest")
    assert "Nothing is in quarantine" in run_command(lake, "quarantine", "list").output
    raw = latest_run(Lake(lake)).raw_root
    run_command(lake, "curate", "tabletop", "--root", raw, "--executor", "local")
    assert "attempt 2: failed truncated_video" in run_command(lake, "quarantine", "show", item).output


def test_names_in_brackets_are_shown(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    counts = {
        "total": 1,
        "processed": 1,
        "already_done": 0,
        "done": 0,
        "filtered": {},
        "failed": {},
        "seconds": 1.0,
    }
    stage = StageRecord.model_validate({"name": "ingest", "key": "k", **counts})
    run = RunRecord(
        run_id=new_run_id("d"),
        dataset="d",
        recipe={},
        raw_root="",
        executor="",
        started_at="",
        sources=["i"],
        stages=[stage],
    )
    save_run(lake, run)
    entry = LedgerEntry(
        "i", "a.mp4 [main]", "ingest", "k", "r", 1, "failed", "x", "", False, "w", 1.0, 1.0, "2026"
    )
    record(lake, "k", [entry])
    assert "a.mp4 [main]" in run_command(tmp_path / "lake", "quarantine", "list").output


def test_a_place_of_the_wrong_kind_is_refused_before_the_work(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for place, *command in ((tmp_path, "report"), (file, "stage", "record", "wrists")):
        refused = run_command(tmp_path, *command, "--out", str(place), status=2)
        assert "--out" in refused.output


def test_quarantine_holds_what_the_latest_run_found(lake: Path) -> None:
    run, key = latest_run(Lake(lake)), keys(lake)["ingest"]
    (broken,) = [x for x in run_command(lake, "quarantine", "list").output.splitlines() if "truncated" in x]
    gone = LedgerEntry(
        "gone", "mended.mp4", "ingest", key, run.run_id, 1, "failed", "missing_file", "", False, "w", 1.0, 1.0, now()
    )  # fmt: skip
    record(Lake(lake), key, [gone])
    listed = run_command(lake, "quarantine", "list").output
    assert broken in listed
    assert "mended.mp4" not in listed
    with pytest.raises(UserError, match="Not in quarantine: gone"):
        run_command(lake, "quarantine", "requeue", "gone")


def test_a_reason_nothing_failed_for_is_refused(lake: Path) -> None:
    with pytest.raises(UserError, match="'timout'; the reasons there are: truncated_video"):
        run_command(lake, "quarantine", "requeue", "--reason", "timout")


@pytest.mark.parametrize("command", ["status", "versions", "report", "quarantine list"])
def test_every_command_says_that_a_lake_is_not_there(tmp_path: Path, command: str) -> None:
    with pytest.raises(UserError, match="There is no lake at"):
        run_command(tmp_path / "nolake", *command.split())


def test_tables_cut_nothing_on_a_narrow_terminal(lake: Path) -> None:
    runner = CliRunner(env={"COLUMNS": "80"})
    for command in ("status", "versions"):
        assert "…" not in runner.invoke(app, [command, "--lake", str(lake)]).output


def test_what_to_do_next_can_be_pasted(lake: Path, tmp_path: Path) -> None:
    moved = shutil.move(lake, tmp_path / "a [b] lake")
    run = latest_run(Lake(moved))
    with console.capture() as shown:
        print_run(run, Lake(moved))
    assert f"harp report --lake {shlex.quote(str(moved))}\n" in shown.get()


def test_a_lake_without_versions_says_so(tmp_path: Path) -> None:
    assert "No version is published" in run_command(tmp_path, "versions").output


def test_measuring_a_sample_leaves_the_latest_run_and_version(lake: Path) -> None:
    before = latest_run(Lake(lake))
    versions = list_versions(Lake(lake))
    run_command(lake, "plan", "tabletop", "--root", before.raw_root, "--sample", "2")
    assert latest_run(Lake(lake)) == before
    assert list_versions(Lake(lake)) == versions


def test_a_run_record_names_the_raw_root_for_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    curation = Curation(load_curate_recipe("clips"), "raw", Lake(tmp_path / "lake"), LocalExecutor())
    assert curation.record.raw_root == str(tmp_path / "raw")


def test_reprocessing_computes_the_stage_and_what_follows(lake: Path) -> None:
    before, (version,) = keys(lake), list_versions(Lake(lake))
    change = ["--set", "alignment.warp.time_weight=0.9"]
    run_command(lake, "reprocess", "tabletop", "--from-stage", "alignment", "--executor", "local", *change)
    after, run = keys(lake), latest_run(Lake(lake))
    changed = [name for name in before if before[name] != after[name]]
    assert changed == ["alignments", "verdicts", "shards"]
    assert [s.name for s in run.stages if s.processed] == changed
    assert len(Lake(lake).ids(Alignment, before["alignments"])) == len(
        Lake(lake).ids(Alignment, after["alignments"])
    )
    assert version.version_id in {v.version_id for v in list_versions(Lake(lake))}
    for shard in version.shards:
        assert (lake / shard.path).stat().st_size == shard.num_bytes
    shown = run_command(lake, "versions", "diff", version.version_id, "latest").output
    if run.version_is_new:
        assert "alignment.warp.time_weight" in shown
        assert "Stages computed anew: alignments, verdicts, shards" in shown
    else:
        assert "Both are version" in shown


def test_a_curation_that_takes_a_reprocessing_back_says_so(
    lake: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", "pipelines")
    (old,) = list_versions(Lake(lake))
    change = ["--set", "shards.jpeg_quality=60"]
    run_command(lake, "reprocess", "tabletop", "--from-stage", "shards", "--executor", "local", *change)
    new = latest_run(Lake(lake)).version_id
    assert starred(lake) == [new]
    assert not caplog.messages
    nightly = ["curate", "tabletop", "--root", latest_run(Lake(lake)).raw_root, "--executor", "local"]
    shown = run_command(lake, *nightly).output
    assert f"Version {old.version_id} is the latest again" in shown
    (warning,) = caplog.messages
    assert warning == str(latest_run(Lake(lake)).reverted)
    assert f"Version {new}, the latest until this run" in warning
    assert "shards.jpeg_quality=60 (this run: 90)" in warning
    assert starred(lake) == [old.version_id]
    run_command(lake, *nightly)
    run_command(lake, "curate", "tabletop", *nightly[2:], *change)
    assert starred(lake) == [new]
    assert "shards.jpeg_quality=90 (this run: 60)" in caplog.messages[-1]
    assert len(caplog.messages) == 2, "a run that leaves the latest version warns of nothing"


def starred(lake: Path) -> list[str | None]:
    """Versions that the list marks as the latest."""
    lines = run_command(lake, "versions").output.splitlines()
    return [line.split()[0] for line in lines if line.split()[1:2] == ["*"]]


def test_reprocessing_refuses_a_change_of_an_earlier_stage(lake: Path) -> None:
    with pytest.raises(UserError, match="changes alignments, which comes before verdicts"):
        run_command(
            lake, "reprocess", "tabletop", "--from-stage", "verdict", "--executor", "local",
            "--set", "alignment.warp.time_weight=0.9",
        )  # fmt: skip
    with pytest.raises(UserError, match="no stage 'verdikt': the stages are ingest, wrists, camera"):
        run_command(lake, "reprocess", "tabletop", "--from-stage", "verdikt")


def test_a_recording_agrees_with_itself_and_tells_a_change(lake: Path, tmp_path: Path) -> None:
    recording, same, other = tmp_path / "recording", tmp_path / "same", tmp_path / "other"
    run_command(lake, "stage", "record", "alignment", "--out", str(recording))
    kept = json.loads((recording / "recording.json").read_text())
    assert len(kept["item_ids"]) == len(Lake(lake).ids(Alignment, kept["stage_key"]))
    runner = CliRunner(env={"COLUMNS": "200"})
    assert runner.invoke(app, ["stage", "replay", str(recording), "--out", str(same)]).exit_code == 0
    agree = runner.invoke(app, ["stage", "compare", str(recording), str(same)])
    assert (agree.exit_code, "They agree" in agree.output) == (0, True)
    change = ["--recipe", "tabletop", "--set", "alignment.warp.time_weight=50"]
    assert (
        runner.invoke(app, ["stage", "replay", str(recording), "--out", str(other), *change]).exit_code == 0
    )
    differ = runner.invoke(app, ["stage", "compare", str(recording), str(other), "--tolerance", "cost=1000"])
    assert differ.exit_code == 1
    assert "differs" in differ.output


def test_the_motion_of_cameras_can_be_recorded(lake: Path, tmp_path: Path) -> None:
    recipe = load_curate_recipe("tabletop", ["camera.moving=[human]"])
    curation = Curation(recipe, latest_run(Lake(lake)).raw_root, Lake(lake), LocalExecutor())
    for step in (Curation.ingest, Curation.find_wrists, Curation.follow_cameras):
        step(curation)
    recording, same = tmp_path / "recording", tmp_path / "same"
    shown = run_command(lake, "stage", "record", "camera", "--out", str(recording)).output
    assert "2 items of camera_motion" in shown
    runner = CliRunner(env={"COLUMNS": "200"})
    assert runner.invoke(app, ["stage", "replay", str(recording), "--out", str(same)]).exit_code == 0
    agree = runner.invoke(app, ["stage", "compare", str(recording), str(same)])
    assert (agree.exit_code, "They agree" in agree.output) == (0, True)
    still = ["stage", "replay", str(recording), "--out", str(tmp_path / "still"), "--recipe", "tabletop"]
    assert "2 of 2 recorded items are no work for camera_motion" in str(runner.invoke(app, still).exception)


def test_optimizing_keeps_every_row(lake: Path) -> None:
    opened, key = Lake(lake), keys(lake)["verdicts"]
    rows = list(opened.read(Verdict, key).items())
    for i in range(8):
        opened.append(Verdict, "another", [(f"{i}{item_id}", row) for item_id, row in rows])
    shown = run_command(lake, "lake", "optimize").output
    (verdicts,) = [line.split() for line in shown.splitlines() if line.strip().startswith("verdicts")]
    assert int(verdicts[1]) == int(verdicts[2]) + 7
    assert opened.read(Verdict, key) == dict(rows)
    assert len(opened.ids(Verdict, "another")) == 8 * len(rows)
    with pytest.raises(UserError, match="at least 24 h"):
        run_command(lake, "lake", "optimize", "--keep-hours", "1")


def test_the_command_line_says_how_much_may_fail(lake: Path) -> None:
    raw = latest_run(Lake(lake)).raw_root
    arguments = ["curate", "tabletop", "--root", raw, "--executor", "local", "--max-failed-fraction"]
    with pytest.raises(UserError, match="ingest failed on 1 of 4 items"):
        run_command(lake, *arguments, "0.1")
    run_command(lake, *arguments, "0.3")
