"""A run that was begun on the latest version stays with it, whatever is published while it is down."""

import json
import sys
from pathlib import Path

import pytest

import flows.train
from data_schemas.versions import LATEST_SUFFIX
from harp.cli import main
from harp.data.version import PublishedVersion
from harp.recipes import load_stage1_recipe
from harp.training import stage1
from harp.training.run_folder import RunFolder
from harp.training.stage1 import Stage1Result
from harp.training.stage1_version import begun_on
from tests.harp.tiny_version import write_version


@pytest.fixture
def lake(tmp_path) -> Path:
    """With two versions, of which the second is the latest; `run` was begun on the first."""
    first, second = (write_version(tmp_path / "lake", frames=3, keypoints=number) for number in (1, 2))
    pointer = second.with_name(f"discs{LATEST_SUFFIX}")
    pointer.write_text(json.dumps({"version_id": second.name}))
    RunFolder(tmp_path / "run", load_stage1_recipe("laptop"), PublishedVersion.open(first))
    (tmp_path / "run" / "checkpoints" / "step-000050").mkdir(parents=True)
    (tmp_path / "first").symlink_to(first)
    (tmp_path / "second").symlink_to(second)
    return tmp_path / "lake"


@pytest.mark.parametrize(
    ("out", "version", "expected"),
    [
        ("run", (), "first"),
        ("run", ("--version", "latest"), "first"),
        ("another", (), "second"),
        ("run", ("--version", "{second}"), "second"),  # which the run's folder then refuses
    ],
)
def test_the_same_command_continues_the_same_run(lake, tmp_path, monkeypatch, out, version, expected):
    trained_on = []

    def train(config, folder, out, **others):
        trained_on.append(folder)
        return Stage1Result(out, folder.name, 1, 1.0, {}, already_finished=True)

    monkeypatch.setattr(stage1, "train_stage1", train)
    second = (tmp_path / "second").resolve().name
    named = [part.replace("{second}", second) for part in version]
    command = ["harp", "train", "stage1", "--lake", str(lake), "--out", str(tmp_path / out), *named]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert trained_on == [(tmp_path / expected).resolve()]


@pytest.mark.parametrize(("out", "expected"), [("run", "first"), ("another", "second")])
def test_the_same_flow_continues_the_same_run(lake, tmp_path, monkeypatch, out, expected):
    trained_on = []
    monkeypatch.setattr(
        flows.train, "optimize", lambda config, version, run, workers: trained_on.append(version)
    )
    flows.train.train.fn(str(lake), str(tmp_path / out))
    assert trained_on == [(tmp_path / expected).resolve()]


def test_only_a_version_of_this_lake_and_data_set_is_continued(lake, tmp_path):
    run, first = tmp_path / "run", (tmp_path / "first").resolve()
    assert begun_on(run, lake) == begun_on(run, lake, "discs") == first
    assert begun_on(run, lake, "cubes") is None
    assert begun_on(run, tmp_path / "another") is None
    (run / "config.json").write_text(json.dumps({"policy": {}}))
    assert begun_on(run, lake) is None


def test_a_run_without_a_checkpoint_takes_the_newest_version(lake, tmp_path):
    (tmp_path / "run" / "checkpoints" / "step-000050").rmdir()
    assert begun_on(tmp_path / "run", lake) is None
