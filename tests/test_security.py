"""What untrusted files and texts must not be able to do, looked for in all of the code and tried where it is at stake.

Beside these: paths and links out of the raw root (`pipelines/datasets`), names out of the lake (`pipelines/shards`),
pickles (`pipelines/datasets/test_safe_npy`). Calls that execute text or start shells are refused by ruff's rules S102 to
S605 in `make check`.
"""

import ast
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch

from data_schemas.errors import UserError
from data_schemas.versions import Manifest, ShardFile
from harp.configuration import load_recipe
from harp.data.shards import ShardReader
from harp.data.version import PublishedVersion
from harp.weights.tensors import open_tensors
from pipelines.objects.config import DescribeConfig
from pipelines.objects.openai_describer import OpenAIDescriber
from pipelines.quality.report.digest import plain
from pipelines.recipe import RECIPES, CurateRecipe

ROOT = Path(__file__).parents[1]
PACKAGES = ("data_schemas", "harp", "pipelines", "flows", "simulation")
SECRET = "sk-very-secret"


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """(file, dotted name of what is called, the call) of all of our code."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    yield str(path.relative_to(ROOT)), ast.unparse(node.func), node


def keywords(call: ast.Call) -> dict[str, str]:
    return {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg}


def test_nothing_is_unpickled_freely_or_unpacked_by_its_own_paths():
    found = []
    for file, name, call in calls():
        given, last = keywords(call), name.rsplit(".", 1)[-1]
        unsafe = (
            (name == "torch.load" and given.get("weights_only") != "True")
            or (name in ("np.load", "numpy.load") and given.get("allow_pickle") == "True")
            or (
                name.split(".")[0] in ("pickle", "cloudpickle", "dill", "joblib")
                and last in ("load", "loads")
            )
            or last in ("extractall", "extract", "unpack_archive")
            or name in ("eval", "exec", "os.system", "os.popen")
            or (name.startswith("yaml.") and last not in ("safe_load", "safe_dump"))
            or given.get("shell") == "True"
            or given.get("trust_remote_code") == "True"
        )
        if unsafe:
            found.append(f"{file}: {ast.unparse(call)[:80]}")
    assert not found


@pytest.mark.parametrize("text", ["!!python/object/apply:os.mkdir [ran]", "!!python/name:os.system"])
def test_yaml_makes_no_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(f"dataset: {text}\n")
    with pytest.raises(UserError):
        load_recipe(CurateRecipe, RECIPES, str(tmp_path / "recipe.yaml"), [])
    with pytest.raises(UserError):
        load_recipe(CurateRecipe, RECIPES, "clips", [f"dataset={text}"])
    assert not Path("ran").exists()


def test_a_checkpoint_that_holds_code_is_not_read(tmp_path: Path):
    class Exploit:
        def __reduce__(self):
            return Path.mkdir, (tmp_path / "ran",)

    torch.save({"weight": Exploit()}, tmp_path / "model.pt")
    with pytest.raises(UserError, match="holds more than tensors"):
        open_tensors(tmp_path / "model.pt")
    assert not (tmp_path / "ran").exists()


def test_a_manifest_cannot_name_files_outside_its_lake(tmp_path: Path):
    """A version may come from elsewhere, with any path in it."""
    secret = tmp_path / "secret.tar"
    secret.write_bytes(b"x" * 1024)
    folder = tmp_path / "lake" / "versions" / "v"
    folder.mkdir(parents=True)
    shard = ShardFile(path="../secret.tar", sha256="0" * 64, num_bytes=1024, num_samples=1)
    manifest = Manifest(
        version_id="v", dataset="d", created_at="", shards=[shard], index_sha256="", stage_keys={}, recipe={},
        licenses={}, counts={},
    )  # fmt: skip
    reader = ShardReader(PublishedVersion(folder.resolve(), manifest, ()), "size")
    with pytest.raises(UserError, match="outside of"):
        reader._file(shard.path)


class Echo(BaseHTTPRequestHandler):
    """Refuses every request and repeats its key, as some servers do."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(401)
        self.end_headers()
        self.wfile.write(json.dumps({"error": f"wrong key {self.headers['Authorization']}"}).encode())

    def log_message(self, *_: object, **__: object) -> None: ...


def test_a_key_that_a_server_repeats_goes_into_no_error(monkeypatch: pytest.MonkeyPatch):
    """Errors go to the ledger, to logs and to Prefect."""
    server = HTTPServer(("127.0.0.1", 0), Echo)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    describer = OpenAIDescriber(DescribeConfig(num_frames=1, max_side=64))
    describer.load()
    with pytest.raises(UserError) as caught:
        describer.describe([np.zeros((2, 64, 64, 3), np.uint8)])
    server.shutdown()
    server.server_close()
    assert "wrong key Bearer ***" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("field", sorted(CurateRecipe.model_fields))
def test_a_recipe_has_no_field_for_a_secret(field: str):
    """Recipes are published with every version."""
    assert not any(word in field for word in ("key", "token", "password", "secret"))


def test_an_instruction_is_no_markup():
    """Instructions come with the data; the digest shows them in Prefect's UI."""
    import markdown_it

    text = "<img src=x onerror=alert(1)> [a](javascript:alert(1)) `b` | **c**\n# d"
    page = markdown_it.MarkdownIt("commonmark", {"html": True}).render(f"### {plain(text)}")
    assert page.count("<") == 2, "the heading's own two tags"
    assert "&lt;img src=x onerror=alert(1)&gt;" in page.replace("&quot;", '"')
