"""The command line as a user meets it."""

import errno
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from harp.cli import build_app, main
from harp.help_pages import flowing

ROOT = Path(__file__).parents[2]


def harp(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harp", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_help_names_every_command():
    result = harp("--help")
    assert result.returncode == 0
    for command in (
        "demo",
        "curate",
        "status",
        "versions",
        "report",
        "train",
        "evaluate",
        "weights",
        "simulate",
    ):
        assert command in result.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["versions"], "harp versions diff"),
        (["train", "stage2"], "[robot]"),  # brackets are markup, too
        (["reprocess"], "camera"),
        (["label"], "--model"),  # one run of stage 1 has one name everywhere; its first names are understood
        (["evaluate", "representation"], "--run"),
    ],
)
def test_help_of_a_command_shows(arguments: list[str], expected: str):
    assert expected in harp(*arguments, "--help").stdout


def test_help_flows_and_keeps_its_examples():
    text = """First line, which
    goes on.

    A paragraph that the source
    breaks, too.

    Examples:

      harp label --lake lake
      harp label --lake other
    """
    assert flowing(text) == (
        "First line, which goes on.\n\nA paragraph that the source breaks, too.\n\nExamples:\n\n"
        "  harp label --lake lake\n  harp label --lake other"
    )


def test_help_of_every_command_flows():
    commands = [get_command(build_app())]
    for command in commands:
        commands.extend(getattr(command, "commands", {}).values())
        for paragraph in (command.help or "").split("\n\n"):
            assert paragraph.startswith(" ") or "\n" not in paragraph, command.name
    assert len(commands) > 25


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["curate", "rh20", "--root", "{tmp}"], "did you mean 'rh20t'"),
        (["curate", "rh20t", "--root", "{tmp}", "--set", "alignment.windw=1"], "alignment.windw"),
        (["curate", "clips", "--root", "{tmp}"], "pairs.csv"),
        (["curate", "clips", "--root", "{tmp}/absent"], "absent is no folder"),
        (["status", "--lake", "{tmp}"], "harp curate"),
        (["train", "stage1", "--lake", "{tmp}", "--out", "{tmp}/run"], "harp curate"),
        (["evaluate", "representation", "--run", "{tmp}"], "config.json"),
        (["evaluate", "actions", "--policy", "{tmp}", "--demonstrations", "{tmp}"], "harp train stage3`."),
        (["weights", "pull", "nonsense"], "nonsense"),
        (["report", "--lake", "{tmp}", "--stage2", "{tmp}"], "--stage3"),
        (["run", "nonsense"], "curate-rh20t"),
        (["demo", "--out", "{tmp}/demo", "--set", "foo=1"], "no key 'foo'"),
        (["versions", "diff", "a[/b]", "--lake", "{tmp}"], "a[/b]"),
        (["versions", "--lake", "{tmp}/before", "diff", "a", "b"], "{tmp}/before"),
    ],
)
def test_a_mistake_gives_one_sentence_and_status_2(
    arguments: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(sys, "argv", ["harp", *(a.replace("{tmp}", str(tmp_path)) for a in arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    message = capsys.readouterr().err.strip()
    assert expected.replace("{tmp}", str(tmp_path)) in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.ENOTDIR, errno.ENOENT])
def test_a_path_that_the_system_refuses_gives_one_sentence(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def refused() -> None:
        raise OSError(number, os.strerror(number), "some/path")

    monkeypatch.setattr("harp.cli.build_app", lambda: refused)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"harp: some/path cannot be used: {os.strerror(number)}.\n"


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "Input/output error", "some/path"), OSError("no number")]
)
def test_other_errors_of_the_system_keep_their_traceback(error: OSError, monkeypatch: pytest.MonkeyPatch):
    def broken() -> None:
        raise error

    monkeypatch.setattr("harp.cli.build_app", lambda: broken)
    with pytest.raises(OSError, match=r"Input|number"):
        main()


def test_a_demo_cannot_lie_where_a_file_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").touch()
    monkeypatch.setattr(sys, "argv", ["harp", "demo", "--out", str(tmp_path / "file")])
    with pytest.raises(SystemExit):
        main()
    assert f"{tmp_path / 'file'} cannot be used" in capsys.readouterr().err


def test_a_deployment_that_is_not_found_is_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(subprocess, "run", lambda command, check: subprocess.CompletedProcess(command, 1))
    monkeypatch.setattr(sys, "argv", ["harp", "run", "curate-rh20t"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "PREFECT_API_URL" in capsys.readouterr().err


def test_a_mistake_ends_the_process_without_a_traceback(tmp_path: Path):
    result = harp("status", "--lake", str(tmp_path))
    assert result.returncode == 2
    assert "harp curate" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "page", ["README.md", *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md")))]
)
def test_commands_of_the_documentation_are_complete(page: str):
    """Every option exists and none that is needed is left out; lines that stand for several commands are skipped."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
    for line in "".join(text for language, text in blocks if not language).splitlines():
        words = shlex.split(line, comments=True)[1:] if line.startswith("harp ") else []
        if not words or "..." in words or any("|" in word for word in words):
            continue
        command = get_command(build_app())
        while words and (below := getattr(command, "commands", {}).get(words[0])):
            command, words = below, words[1:]
        command.make_context(line, words)


def test_options_of_a_deployments_run_are_prefects():
    result = harp("run", "--watch", "curate-rh20t", "--watch-interval", "often")
    assert result.returncode != 0
    assert "--watch-interval" in result.stderr + result.stdout
    assert "often" in result.stderr + result.stdout
