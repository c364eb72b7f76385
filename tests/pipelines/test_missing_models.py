"""A model that is not installed ends the run before the first video is decoded, where that can be known."""

from pathlib import Path

import pytest

from benchmarks.engine.noop import make_lake, make_raw
from data_schemas.demonstrations import Demonstration
from data_schemas.errors import UserError
from pipelines.curate import Curation
from pipelines.engine.executors import LocalExecutor
from pipelines.engine.lake import Lake
from pipelines.engine.ray_executor import RayExecutor
from pipelines.recipe import load_curate_recipe

MODELS = {
    "objects.tracker=tapir": "package tapnet",
    "objects.tracker=tapir-causal": "package tapnet",
    "objects.grounder=groundingdino": "harp weights pull grounding-dino-tiny",
    "objects.grounder=groundingdino-py": "package groundingdino-py",
    "objects.describer=openai": "OPENAI_BASE_URL",
    "objects.describer=transformers": "hf download Qwen/Qwen3-VL-8B-Instruct",
    "wrists.detector=wilor-mini": "HARP_WILOR_PYTHON",
}


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("HARP_WEIGHTS_DIR", "HARP_WILOR_PYTHON", "OPENAI_BASE_URL", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


def curation(folder: Path, *changes: str) -> Curation:
    recipe = load_curate_recipe("clips", changes)
    return Curation(recipe, folder / "raw", Lake(folder / "lake"), LocalExecutor())


@pytest.mark.parametrize(("change", "advice"), MODELS.items())
def test_named_before_the_first_video_is_decoded(change: str, advice: str, tmp_path: Path) -> None:
    make_raw(tmp_path / "raw", 2)
    with pytest.raises(UserError, match=advice):
        curation(tmp_path, change).ingest()
    assert Lake(tmp_path / "lake").existing(Demonstration) is None


def test_workers_elsewhere_may_have_what_this_machine_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert RayExecutor().is_here
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    assert not RayExecutor().is_here


def test_rows_need_no_model_any_more(tmp_path: Path) -> None:
    """A lake is curated on where its models are no more, as long as nothing is to be computed by them."""
    make_raw(tmp_path / "raw", 4)
    make_lake(tmp_path / "raw", tmp_path / "lake")
    other = curation(tmp_path, "verdict.min_motion=0.03")
    other.stages["object_tracks"].check = lambda: pytest.fail("was asked for its model")
    other.ingest()
