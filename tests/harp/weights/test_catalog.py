"""The catalog's own models, as their sources ship them."""

import struct
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from data_schemas.errors import UserError
from harp.recipes import load_stage1_recipe
from harp.weights import CATALOG, resolve
from harp.weights.entry import HubSource


def test_catalog_is_consistent() -> None:
    for name, entry in CATALOG.items():
        assert name == entry.name
        assert entry.license
        assert all(digest is None or len(digest) == 64 for digest in entry.files.values())
        for source in entry.sources:
            assert source.members.keys() == entry.files.keys()
            assert not isinstance(source, HubSource) or len(source.commit) == 40


def test_the_papers_models_are_in_the_catalog() -> None:
    """Every model that the paper recipe names can be listed, with licence, revision and checked bytes."""
    recipe = load_stage1_recipe("paper")
    names = [backbone.weights or "" for backbone in recipe.vision.backbones] + [recipe.text.model]
    assert names == ["dinov2-l14-reg4", "siglip-so400m-14", "t5-base"]
    for name in names:
        assert CATALOG[name].license == "Apache-2.0"
        assert None not in CATALOG[name].files.values()


def test_hand_models_are_tflite_graphs() -> None:
    """Bytes 4 to 8 of a TFLite flatbuffer say so."""
    try:
        folder = resolve("mediapipe-hands")
    except UserError as error:
        pytest.skip(str(error))
    for name in CATALOG["mediapipe-hands"].files:
        assert struct.unpack_from("4s", (folder / name).read_bytes(), 4) == (b"TFL3",)


def test_text_encoder_tells_instructions_apart() -> None:
    """Mean-pooled sentences: similar instructions are closer than different ones (.50 and .20 measured)."""
    try:
        folder = resolve("minilm-l6")
    except UserError as error:
        pytest.skip(str(error))
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder)
    batch = tokenizer(
        ["pick up the red cup", "grasp the mug", "open the drawer"], padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        tokens = model(**batch).last_hidden_state
    mask = batch.attention_mask[..., None]
    sentences = torch.nn.functional.normalize((tokens * mask).sum(1) / mask.sum(1))
    similar, different = (sentences[0] @ sentences[1:].T).tolist()
    assert similar == pytest.approx(0.50, abs=0.02)
    assert different == pytest.approx(0.20, abs=0.02)
