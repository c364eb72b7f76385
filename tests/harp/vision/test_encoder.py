"""The robot-only adapter: identity at the start, no trace on human images ever, gradients where they belong."""

import pytest
import torch
from torch import Tensor

from data_schemas.errors import UserError
from harp.vision.config import PAPER, BackboneConfig, VisionConfig
from harp.vision.encoder import HarpVisionEncoder

from .conftest import TINY, TINY_DINOV2

MIXED = torch.tensor([True, False, False, True, False, True])


def train(encoder: HarpVisionEncoder, images: Tensor, steps: int = 5) -> None:
    """Push the adapters far from the identity, on mixed batches."""
    optimizer = torch.optim.AdamW(encoder.trainable_parameters(), lr=1e-2)
    target = torch.randn(len(images), encoder.num_patches, encoder.dim)
    for _ in range(steps):
        optimizer.zero_grad()
        (encoder.patch_tokens(images, MIXED) - target).square().mean().backward()
        optimizer.step()


def test_shapes(encoder: HarpVisionEncoder, images: Tensor) -> None:
    assert images.shape == (6, 6, 56, 56)
    assert (encoder.dim, encoder.num_patches) == (80, 16)
    assert encoder.patch_tokens(images, MIXED).shape == (6, 16, 80)


def test_adapters_start_as_the_exact_identity(encoder: HarpVisionEncoder, images: Tensor) -> None:
    assert torch.equal(encoder.adapted(images), encoder.frozen(images))
    assert torch.equal(encoder.patch_tokens(images, MIXED), encoder.frozen(images))
    down = torch.cat(
        [tensor.flatten() for name, tensor in encoder.state_dict().items() if "down.weight" in name]
    )
    assert down.std().item() == pytest.approx(0.02, rel=0.05)


def test_human_path_is_bit_equal_after_training(encoder: HarpVisionEncoder, images: Tensor) -> None:
    before = encoder.frozen(images)
    train(encoder, images)
    assert torch.equal(encoder.frozen(images), before)
    assert torch.equal(encoder.patch_tokens(images, torch.zeros(6, dtype=torch.bool)), before)
    mixed = encoder.patch_tokens(images, MIXED)
    assert torch.equal(mixed[~MIXED], before[~MIXED])
    assert (mixed[MIXED] - before[MIXED]).abs().max() > 0.1


def test_a_mixed_batch_equals_two_pure_ones(encoder: HarpVisionEncoder, images: Tensor) -> None:
    train(encoder, images)
    mixed = encoder.patch_tokens(images, MIXED)
    torch.testing.assert_close(mixed[MIXED], encoder.adapted(images[MIXED]), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(encoder.patch_tokens(images, torch.ones(6).bool()), encoder.adapted(images))


def test_gradients_reach_running_adapters_only(encoder: HarpVisionEncoder, images: Tensor) -> None:
    train(encoder, images, steps=1)  # `down` gets no gradient while `up` is zero
    encoder.zero_grad()
    encoder.patch_tokens(images, MIXED).square().mean().backward()
    trainable = {id(parameter) for parameter in encoder.trainable_parameters()}
    for name, parameter in encoder.named_parameters():
        assert (parameter.grad is not None) == (id(parameter) in trainable), name
        assert ("_adapter." in name) == parameter.requires_grad, name
    last = encoder.get_submodule("backbones.1.blocks.2")  # built, because not trimmed, and never run
    assert all(id(parameter) not in trainable for parameter in last.parameters())
    encoder.zero_grad()
    assert not encoder.patch_tokens(images, torch.zeros(6).bool()).requires_grad
    assert not encoder.frozen(images).requires_grad


def test_adapters_are_all_that_training_changes(encoder: HarpVisionEncoder, images: Tensor) -> None:
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    train(encoder, images)
    state = encoder.adapter_state_dict()
    changed = {name for name, tensor in encoder.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {name for name in state if "backbones.1.blocks.2." not in name}
    torch.manual_seed(0)
    other = HarpVisionEncoder(TINY)
    other.load_adapter_state_dict(state)
    assert torch.equal(other.adapted(images), encoder.adapted(images))
    assert "backbones.0.blocks.1.attn_adapter.down.weight" in state


def test_adapters_of_another_size_are_refused(encoder: HarpVisionEncoder) -> None:
    other = HarpVisionEncoder(
        VisionConfig(
            backbones=(BackboneConfig(architecture=TINY_DINOV2, adapter_reduction=12),), image_size=56
        )
    )
    with pytest.raises(UserError, match="Adapters do not fit the configured encoder"):
        encoder.load_adapter_state_dict(other.adapter_state_dict())


def test_bf16_autocast(encoder: HarpVisionEncoder, images: Tensor) -> None:
    train(encoder, images)
    exact = encoder.patch_tokens(images, MIXED)
    encoder.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        tokens = encoder.patch_tokens(images, MIXED)
        frozen = encoder.frozen(images)
    tokens.float().square().mean().backward()
    assert torch.nn.functional.cosine_similarity(tokens.float(), exact, dim=-1).min() > 0.999
    assert torch.equal(tokens[~MIXED], frozen[~MIXED])
    gradients = [parameter.grad for parameter in encoder.trainable_parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_paper_scale() -> None:
    """The paper's encoder: 2176 numbers a patch, adapters of 6.34 M + 4.54 M = 10.89 M.

    SigLIP counts 427.7 M in timm: 15.2 M of them are an attention-pooling head that is not built.
    """
    with torch.device("meta"):
        encoder = HarpVisionEncoder(PAPER)
        tokens = encoder.adapted(torch.empty(1, 6, 224, 224))
    assert tokens.shape == (1, 256, 2176)
    sizes = [0, 0]
    for name, tensor in encoder.adapter_state_dict().items():
        sizes[int(name.split(".")[1])] += tensor.numel()
    assert [round(size / 1e6, 3) for size in sizes] == [6.344, 4.543]
    built = [
        sum(parameter.numel() for parameter in vit.parameters()) - size
        for vit, size in zip(encoder.backbones, sizes, strict=True)
    ]
    assert [round(size / 1e6, 1) for size in built] == [303.2, 412.4]
    last = "backbones.0.blocks.23.mlp_adapter.up.weight"
    assert encoder.adapter_state_dict()[last].shape == (1024, 64)


def test_configuration_mistakes_name_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="unknown architecture 'dinov3'; known are dinov2-s14"):
        BackboneConfig(architecture="dinov3")
    with pytest.raises(ValueError, match="output_block 12 is not among blocks 0 to 11"):
        BackboneConfig(architecture="dinov2-s14", output_block=12)
    with pytest.raises(ValueError, match="image_size 100 is not a multiple"):
        VisionConfig(backbones=(BackboneConfig(architecture="dinov2-s14"),), image_size=100)
