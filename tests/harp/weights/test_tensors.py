"""Checkpoints of every container read alike, lazily, and never run code."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from data_schemas.errors import UserError
from harp.weights.tensors import open_tensors, shape_of


class Payload:
    """Something a pickle could smuggle in."""


def test_safetensors_shards_and_torch_files_read_alike(tmp_path: Path) -> None:
    state = {f"{part}.weight": torch.randn(2, 3) for part in "abc"}
    save_file(state, tmp_path / "one.safetensors")
    (tmp_path / "shards").mkdir()
    for index, (name, tensor) in enumerate(state.items()):
        save_file({name: tensor}, tmp_path / "shards" / f"{index}.safetensors")
    torch.save(state, tmp_path / "one.pt")
    for path in ("one.safetensors", "shards", "one.pt"):
        tensors = open_tensors(tmp_path / path)
        assert set(tensors) == set(state)
        assert all(torch.equal(tensors[name], tensor) for name, tensor in state.items())


def test_shapes_are_known_without_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file({"a": torch.randn(2, 3), "b": torch.tensor(1.0)}, tmp_path / "one.safetensors")
    torch.save({"a": torch.randn(2, 3)}, tmp_path / "one.pt")
    assert shape_of(open_tensors(tmp_path / "one.pt"), "a") == (2, 3)
    tensors = open_tensors(tmp_path / "one.safetensors")
    monkeypatch.delattr(type(tensors), "__getitem__")
    assert (shape_of(tensors, "a"), shape_of(tensors, "b")) == ((2, 3), ())


def test_nested_torch_files_get_dotted_names(tmp_path: Path) -> None:
    """Prismatic keeps `{"model": {"vision_backbone": {…}}, "optimizer": …}`, Lightning `{"state_dict": {…}}`."""
    weight = torch.ones(2)
    torch.save({"model": {"vision_backbone": {"dino_featurizer.x": weight}}, "step": 3}, tmp_path / "a.ckpt")
    assert list(open_tensors(tmp_path / "a.ckpt")) == ["model.vision_backbone.dino_featurizer.x"]


def test_what_cannot_be_read_gives_one_sentence(tmp_path: Path) -> None:
    torch.save({"model": Payload()}, tmp_path / "code.pt")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10")
    (tmp_path / "model.onnx").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    for name, sentence in {
        "code.pt": "holds more than tensors",
        "cut.safetensors": "damaged or no safetensors file",
        "model.onnx": "is no checkpoint",
        "empty": "no safetensors file in",
        "missing.pt": "There is no checkpoint",
    }.items():
        with pytest.raises(UserError, match=sentence) as error:
            open_tensors(tmp_path / name)
        assert "\n" not in str(error.value)
