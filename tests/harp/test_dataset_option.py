"""In a lake of several data sets, every command that takes the latest version is told whose by --dataset."""

import json
import sys
from pathlib import Path

import pytest

from harp.cli import main

COMMANDS = [
    "train stage1 --out {run}",
    "train stage2 --out {run} --version latest",
    "label --stage1 {run}",
    "evaluate representation --stage1 {run} --version latest",
    "features build",
    "versions diff latest",
]


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    (tmp_path / "versions").mkdir()
    for dataset in ("cubes", "toys"):
        pointer = tmp_path / "versions" / f"{dataset}.latest.json"
        pointer.write_text(json.dumps({"version_id": f"of_{dataset}"}))
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ([], "several data sets, cubes, toys: say which by --dataset, or name a version by its id"),
        (["--dataset", "discs"], "has no version of discs yet; it has versions of cubes, toys"),
        (["--dataset", "toys"], "no version 'of_toys'"),
    ],
)
def test_whose_latest_version_is_meant(
    lake: Path,
    command: str,
    option: list[str],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = command.format(run=lake / "run").split()
    monkeypatch.setattr(sys, "argv", ["harp", *words, "--lake", str(lake), *option])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train stage2 --out {run}", "evaluate representation --stage1 {run}"])
def test_a_data_set_alone_means_its_latest_version(
    lake: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    test_whose_latest_version_is_meant(
        lake, command, ["--dataset", "toys"], "no version 'of_toys'", monkeypatch, capsys
    )
