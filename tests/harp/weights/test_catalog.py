"""The catalog's own models, as their sources ship them."""

import struct

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from data_schemas.errors import UserError
from harp.weights import CATALOG, resolve


def test_catalog_is_consistent() -> None:
    for name, entry in CATALOG.items():
        assert name == entry.name
        assert entry.license
        assert all(len(digest) == 64 for digest in entry.files.values())
        for source in entry.sources:
            assert source.members.keys() == entry.files.keys()


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
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
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
