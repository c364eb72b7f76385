"""docs/datasets.md: its reader, packaged as it says, is installed and curates videos by its own recipe; its tables hold."""

import json
import re
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import yaml
from av.video.stream import VideoStream
from typer.testing import CliRunner

from data_schemas.errors import UserError
from data_schemas.ledger import LedgerEntry
from flows.curate import curate
from harp.cli import build_app
from pipelines.datasets import get_reader
from pipelines.datasets.clips.table import OPTIONAL, REQUIRED, read_table
from pipelines.engine.lake import Lake
from pipelines.recipe import load_curate_recipe
from pipelines.runs import latest_run
from pipelines.shards.publish import list_versions

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "datasets.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder into which pip has installed the page's package."""
    source, site = tmp_path_factory.mktemp("takes_reader"), tmp_path_factory.mktemp("site")
    (source / "takes_reader.py").write_text(blocks("python")[0])
    (source / "pyproject.toml").write_text(blocks("toml")[0])
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--quiet", "--target", str(site)]
    subprocess.run([sys.executable, "-m", "pip", "install", *offline, str(source)], check=True)
    return site


@pytest.fixture
def installed(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(package))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "takes.yaml"
    path.write_text(blocks("yaml")[0])
    return path


def write_block_video(path: Path, frames: int, hurry: float) -> None:
    """A bright block that is pushed to the right."""
    wall = np.random.default_rng(frames).integers(90, 130, (180, 320, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for way in np.linspace(0, 1, frames) ** hurry:
            picture, x, y = wall.copy(), int(30 + 220 * way), int(80 + 50 * np.sin(3 * way))
            picture[y : y + 40, x : x + 40] = (250, 240, 60)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))


def write_take(root: Path, name: str, about: str, with_videos: bool = True) -> None:
    (root / name).mkdir(parents=True)
    (root / name / "about.json").write_text(about)
    if with_videos:
        write_block_video(root / name / "human.mp4", 30, hurry=1.5)
        write_block_video(root / name / "robot.mp4", 40, hurry=1.0)


@pytest.mark.usefixtures("installed")
def test_the_reader_of_the_page_curates(tmp_path: Path, recipe: Path) -> None:
    about = re.findall(r"`(\{\"instruction\".*?\})`", PAGE)[0]
    write_take(tmp_path / "raw", "take_1", about)
    write_take(tmp_path / "raw", "take_2", json.dumps(json.loads(about) | {"quality": 2}), with_videos=False)
    write_take(tmp_path / "raw", "take_3", "{", with_videos=False)
    lake = Lake(tmp_path / "lake")
    command = ["curate", str(recipe), "--root", str(tmp_path / "raw"), "--lake", str(lake.root)]
    done = CliRunner().invoke(build_app(), [*command, "--executor", "local"])
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    (version,) = list_versions(lake)
    assert (version.dataset, version.counts["pairs"], version.licenses) == ("takes", 1, {"CC-BY-4.0": 1})
    ingest = latest_run(lake).stages[0]
    assert (ingest.rows, ingest.filtered, ingest.failed) == (2, {"low_quality": 2}, {"bad_about": 2})
    entries = lake.records(LedgerEntry, ingest.key, ["label", "detail"])
    details = {entry["label"]: entry["detail"] for entry in entries}
    assert details["take_2/human.mp4 [front]"] == "rated 2, wanted 3 or more"


@pytest.mark.usefixtures("installed")
def test_a_shown_recipe_has_every_key_and_is_the_same_recipe(tmp_path: Path, recipe: Path) -> None:
    shown = CliRunner().invoke(
        build_app(), ["curate", str(recipe), "--show", "--set", "shards.jpeg_quality=70"]
    )
    assert shown.exit_code == 0, shown.output
    values = yaml.safe_load(shown.output)
    assert values["reader"] == {"name": "takes", "options": {"min_quality": 3, "release": 1}}
    assert values["verdict"]["max_duration_ratio"] == 6.0
    assert values["alignment"]["warp"]["time_weight"] == 0.5, "a default"
    again = tmp_path / "again.yaml"
    again.write_text(shown.output)
    one, other = load_curate_recipe(str(recipe), ["shards.jpeg_quality=70"]), load_curate_recipe(str(again))
    assert other.ingest == one.ingest
    assert other.model_dump(exclude={"reader"}) == one.model_dump(exclude={"reader"})


def test_without_its_package_the_reader_is_named_as_missing(recipe: Path) -> None:
    with pytest.raises(UserError, match="no reader 'takes': choose one of clips, rh20t"):
        load_curate_recipe(str(recipe)).make_reader()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("nowhere_at_all:Reader", "cannot be loaded: No module named 'nowhere_at_all'"),
        ("json:Reader", "cannot be loaded: module 'json' has no attribute 'Reader'"),
        ("json:JSONDecoder", "is no subclass of pipelines.datasets.base.Reader"),
    ],
)
def test_an_entry_point_that_is_no_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, expected: str
) -> None:
    (tmp_path / "odd-1.dist-info").mkdir()
    (tmp_path / "odd-1.dist-info" / "METADATA").write_text("Name: odd\nVersion: 1\n")
    (tmp_path / "odd-1.dist-info" / "entry_points.txt").write_text(f"[harp.readers]\nodd = {value}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match=re.escape(expected)):
        get_reader("odd", {})


def test_the_entry_of_prefect_yaml_fits() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text() + blocks("yaml")[1])["deployments"]
    assert deployments[-1]["name"] == "takes"
    assert deployments[-1]["entrypoint"] == "flows/curate.py:curate"
    assert deployments[-1].keys() == deployments[0].keys()
    curate.validate_parameters(deployments[-1]["parameters"])


@pytest.mark.parametrize("page", [PAGE, (ROOT / "pipelines/datasets/clips/table.py").read_text()])
def test_sample_tables_are_read_and_can_be_published(tmp_path: Path, page: str) -> None:
    lines = [line.strip() for line in page.splitlines()]
    first = lines.index(",".join((*REQUIRED, *OPTIONAL)))
    table = lines[first : first + 4]
    (tmp_path / "pairs.csv").write_text("\n".join(table))
    rows = list(read_table(tmp_path / "pairs.csv"))
    assert len(rows) == 3
    assert all(row["instruction"] for row in rows), "what has none is not published"
    assert {bool(row["pair_id"]) for row in rows} == {True, False}
    described = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE))))
    assert {*REQUIRED, *OPTIONAL} <= described
