"""Adapters in the authors' layout: the same adapters back, from every form they come in."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from data_schemas.errors import UserError
from harp.vision.adapter_checkpoints import authors_adapter_state, read_adapters, write_adapters
from harp.vision.config import PAPER
from harp.vision.encoder import HarpVisionEncoder

from .conftest import TINY


@pytest.fixture
def trained(encoder: HarpVisionEncoder) -> HarpVisionEncoder:
    with torch.no_grad():
        for parameter in encoder.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.1)
    return encoder


@pytest.fixture
def fresh() -> HarpVisionEncoder:
    torch.manual_seed(0)
    return HarpVisionEncoder(TINY)


def same_adapters(a: HarpVisionEncoder, b: HarpVisionEncoder, images: Tensor) -> bool:
    return torch.equal(a.adapted(images), b.adapted(images)) and not torch.equal(
        a.adapted(images), a.frozen(images)
    )


def test_names_are_the_authors() -> None:
    with torch.device("meta"):
        state = authors_adapter_state(HarpVisionEncoder(PAPER))
    expected = {
        f"vision_backbone.{vit}.blocks.{n}.{branch}_adapter.{layer}.{kind}"
        for vit, depth in (("featurizer", 24), ("fused_featurizer", 27))
        for n in range(depth)
        for branch in ("attn", "mlp")
        for layer in ("down", "up")
        for kind in ("weight", "bias")
    }
    assert set(state) == expected
    assert state["vision_backbone.featurizer.blocks.23.attn_adapter.down.weight"].shape == (64, 1024)
    assert state["vision_backbone.fused_featurizer.blocks.0.mlp_adapter.up.weight"].shape == (1152, 36)


def test_two_files_as_stage_1_of_the_authors_leaves_them(
    trained: HarpVisionEncoder, fresh: HarpVisionEncoder, images: Tensor, tmp_path: Path
) -> None:
    files = write_adapters(trained, tmp_path)
    assert [file.name for file in files] == [
        "featurizer_adapter.safetensors",
        "fused_featurizer_adapter.safetensors",
    ]
    read_adapters(fresh, files)
    assert same_adapters(fresh, trained, images)


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (r"^", ""),
        (r"^", "module."),
        (r"vision_backbone\.(fused_)?featurizer", r"model.vision_backbone.\1featurizer"),
        (r"vision_backbone\.featurizer", "vision_backbone.dino_featurizer"),
        (r"vision_backbone\.fused_featurizer", "vision_backbone.siglip_featurizer"),
    ],
)
def test_one_file_under_any_prefix(
    pattern: str,
    replacement: str,
    trained: HarpVisionEncoder,
    fresh: HarpVisionEncoder,
    images: Tensor,
    tmp_path: Path,
) -> None:
    state = {re.sub(pattern, replacement, name): t for name, t in authors_adapter_state(trained).items()}
    save_file(state | {"language_model.lm_head.weight": torch.ones(2)}, tmp_path / "policy.safetensors")
    read_adapters(fresh, [tmp_path / "policy.safetensors"])
    assert same_adapters(fresh, trained, images)


def test_our_own_file_and_torch_files_are_read(
    trained: HarpVisionEncoder, fresh: HarpVisionEncoder, images: Tensor, tmp_path: Path
) -> None:
    torch.save(trained.adapter_state_dict(), tmp_path / "adapters.pt")
    read_adapters(fresh, [tmp_path / "adapters.pt"])
    assert same_adapters(fresh, trained, images)


def test_adapters_that_never_act_may_be_missing_or_more(
    trained: HarpVisionEncoder, fresh: HarpVisionEncoder, images: Tensor, tmp_path: Path
) -> None:
    """The first ViT of the tiny encoder is trimmed to blocks 0-2, the second is not and reads block 1 of 0-2."""
    state = authors_adapter_state(trained)
    more = {
        name.replace("featurizer.blocks.2.", "featurizer.blocks.3."): tensor.clone()
        for name, tensor in state.items()
        if ".featurizer.blocks.2." in name
    }
    fewer = {name: tensor for name, tensor in state.items() if "fused_featurizer.blocks.2." not in name}
    save_file(more | fewer, tmp_path / "policy.safetensors")
    read_adapters(fresh, [tmp_path / "policy.safetensors"])
    assert same_adapters(fresh, trained, images)


def test_mistakes_give_one_sentence(trained: HarpVisionEncoder, tmp_path: Path) -> None:
    state = authors_adapter_state(trained)
    missing = {
        name: t for name, t in state.items() if not name.endswith("featurizer.blocks.0.mlp_adapter.up.bias")
    }
    save_file(missing, tmp_path / "missing.safetensors")
    with pytest.raises(UserError, match=r"2 of \d+ differ .* backbones\.0\.blocks\.0\.mlp_adapter\.up\.bias"):
        read_adapters(trained, [tmp_path / "missing.safetensors"])
    save_file({"x": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="holds no adapters"):
        read_adapters(trained, [tmp_path / "other.safetensors"])
