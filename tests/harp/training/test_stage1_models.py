"""The identity of a stage-1 run follows the content of all that its models are made of."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from data_schemas.errors import UserError
from harp.training.stage1 import ADAPTERS
from harp.training.stage1_models import stage1_identity
from tests.harp.training.tiny_recipe import tiny_config, write_text_encoder


def finished_run(folder: Path, text: Path, **changes: object) -> Path:
    """What `stage1_identity` reads of a run, without training one."""
    folder.mkdir()
    config = json.loads(tiny_config(text, **changes).model_dump_json())
    (folder / "config.json").write_text(json.dumps({"version": "v", **config}))
    (folder / "version_folder").write_text("lake/versions/v\n")
    (folder / "result.json").write_text("{}")
    (folder / ADAPTERS).write_bytes(b"adapters")
    return folder


def test_labels_of_cataloged_models_are_found_after_an_update(tmp_path):
    run = finished_run(tmp_path / "run", Path("minilm-l6"))
    assert stage1_identity(run) == "stage1@d24278f9d6d37657"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "vocab.txt"])
def test_another_text_encoder_in_the_same_place_is_another_model(tmp_path, name):
    text = write_text_encoder(tmp_path / "bert")
    run = finished_run(tmp_path / "run", text)
    before = stage1_identity(run)
    (text / "README.md").write_text("says nothing of the model")
    assert stage1_identity(run) == before
    (text / name).write_bytes((text / name).read_bytes() + b"\n")
    assert stage1_identity(run) != before
    for file in text.iterdir():
        file.unlink()
    with pytest.raises(UserError, match=r"pretrained files .* are gone from .*bert"):
        stage1_identity(run)


def test_other_vision_weights_in_the_same_file_are_another_model(tmp_path):
    weights = tmp_path / "vit.safetensors"
    vision = tiny_config(Path("minilm-l6")).vision.model_dump()
    vision["backbones"] = [{**vision["backbones"][0], "weights": str(weights)}]
    run = finished_run(tmp_path / "run", Path("minilm-l6"), vision=vision)
    identities = set()
    for value in (0.0, 1.0):
        save_file({"norm.weight": torch.full((32,), value)}, weights)
        identities.add(stage1_identity(run))
    assert len(identities) == 2
