"""One model under the names of every publisher: timm, open_clip, OpenVLA, Prismatic, data-parallel training."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from harp.vision.checkpoints import load_state, load_weights, resample_positions
from harp.vision.config import BackboneConfig, VisionConfig
from harp.vision.encoder import HarpVisionEncoder, load_vision_encoder
from harp.vision.vit import VisionTransformer, ViTConfig

from .conftest import TINY, TINY_DINOV2, TINY_SIGLIP

UNREAD = {"norm.weight": torch.ones(3), "attn_pool.latent": torch.ones(1), "head.weight": torch.ones(2)}
"""What published ViTs have and ours does not build: final norm, attention pooling, classifier."""


def timm_state(config: ViTConfig, seed: int) -> dict[str, Tensor]:
    """A timm checkpoint with random tensors, written out by hand from timm's module tree."""
    torch.manual_seed(seed)
    D, M, P = config.width, config.mlp_width, config.patch_size
    shapes: dict[str, tuple[int, ...]] = {
        "pos_embed": (1, config.position_grid**2, D),
        "patch_embed.proj.weight": (D, 3, P, P),
        "patch_embed.proj.bias": (D,),
    }
    if config.class_token:
        shapes |= {"cls_token": (1, 1, D), "reg_token": (1, config.num_registers, D)}
    for n in range(config.depth):
        branch = {
            "norm1.weight": (D,),
            "norm1.bias": (D,),
            "attn.qkv.weight": (3 * D, D),
            "attn.qkv.bias": (3 * D,),
            "attn.proj.weight": (D, D),
            "attn.proj.bias": (D,),
            "norm2.weight": (D,),
            "norm2.bias": (D,),
            "mlp.fc1.weight": (M, D),
            "mlp.fc1.bias": (M,),
            "mlp.fc2.weight": (D, M),
            "mlp.fc2.bias": (D,),
        }
        if config.layer_scale:
            branch |= {"ls1.gamma": (D,), "ls2.gamma": (D,)}
        shapes |= {f"blocks.{n}.{name}": shape for name, shape in branch.items()}
    return {name: torch.randn(shape) * 0.2 for name, shape in shapes.items()}


DINOV2, SIGLIP = timm_state(TINY_DINOV2, 1), timm_state(TINY_SIGLIP, 2)


def prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor.clone() for name, tensor in (state | UNREAD).items()}


def scale_factors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace("gamma", "scale_factor"): tensor for name, tensor in state.items()}


def language_model() -> dict[str, Tensor]:
    return {"language_model.model.embed_tokens.weight": torch.ones(4, 2)}


CHECKPOINTS = {
    "openvla": prefixed("vision_backbone.featurizer.", scale_factors(DINOV2))
    | prefixed("vision_backbone.fused_featurizer.", SIGLIP)
    | language_model(),
    "openvla in data-parallel training": prefixed("module.vision_backbone.featurizer.", scale_factors(DINOV2))
    | prefixed("module.vision_backbone.fused_featurizer.", SIGLIP),
    "prismatic": prefixed("model.vision_backbone.dino_featurizer.", DINOV2)
    | prefixed("model.vision_backbone.siglip_featurizer.", SIGLIP),
    "dino second": prefixed("siglip.", SIGLIP) | prefixed("dino.", DINOV2),
}


@pytest.fixture(scope="module")
def expected() -> HarpVisionEncoder:
    """Filled tensor by tensor, by their native names."""
    encoder = HarpVisionEncoder(TINY)
    for vit, state in zip(encoder.backbones, (DINOV2, SIGLIP), strict=True):
        own = vit.state_dict()
        vit.load_state_dict({name: state[name] for name in own if name in state}, strict=False)
        assert {name for name in own if name not in state} == {name for name in own if "_adapter" in name}
    return encoder


@pytest.mark.parametrize("names", CHECKPOINTS)
def test_both_vits_are_found_in_a_policy(names: str, expected: HarpVisionEncoder, tmp_path: Path) -> None:
    save_file(CHECKPOINTS[names], tmp_path / "model.safetensors")
    backbones = tuple(
        backbone.model_copy(update={"weights": str(tmp_path / "model.safetensors")})
        for backbone in TINY.backbones
    )
    encoder = load_vision_encoder(VisionConfig(backbones=backbones, image_size=56))
    images = torch.randn(2, 6, 56, 56)
    assert torch.equal(encoder.frozen(images), expected.frozen(images))


def test_prismatics_torch_file_and_open_clips_prefix(expected: HarpVisionEncoder, tmp_path: Path) -> None:
    featurizers = {f"dino_featurizer.{name}": tensor for name, tensor in DINOV2.items()}
    featurizers |= {f"siglip_featurizer.{name}": tensor for name, tensor in SIGLIP.items()}
    torch.save({"model": {"vision_backbone": featurizers, "projector": {}}}, tmp_path / "prismatic.pt")
    save_file(prefixed("visual.trunk.", SIGLIP), tmp_path / "open_clip_model.safetensors")
    images = torch.randn(2, 3, 56, 56)
    for index, file in ((0, "prismatic.pt"), (1, "prismatic.pt"), (1, "open_clip_model.safetensors")):
        backbone = TINY.backbones[index]
        vit = VisionTransformer(backbone.vit, 56, backbone.block, backbone.num_blocks, adapter_width=8)
        load_weights(vit, str(tmp_path / file))
        assert torch.equal(vit(images, None), expected.backbones[index](images, None))


def test_metas_release_adds_the_class_tokens_position_as_timm_does() -> None:
    """Meta's own file calls registers otherwise and keeps a position of the class token."""
    state = {name: tensor for name, tensor in DINOV2.items() if name != "reg_token"}
    class_position = torch.randn(1, 1, TINY_DINOV2.width)
    state |= {
        "register_tokens": DINOV2["reg_token"],
        "mask_token": torch.zeros(1, TINY_DINOV2.width),
        "cls_token": DINOV2["cls_token"] - class_position,
        "pos_embed": torch.cat((class_position, DINOV2["pos_embed"]), dim=1),
    }
    ours, plain = (VisionTransformer(TINY_DINOV2, 56, 2, 3, adapter_width=8) for _ in range(2))
    load_state(ours, state)
    load_state(plain, DINOV2)
    torch.testing.assert_close(ours.cls_token, plain.cls_token)
    assert torch.equal(ours.pos_embed, plain.pos_embed)


@pytest.mark.parametrize(("side", "grid"), [(37, 16), (27, 16), (16, 8), (4, 16)])
def test_positions_of_other_sizes_are_resampled_like_an_image(side: int, grid: int) -> None:
    """Pillow's bicubic filter, which is antialiased when it shrinks, is the oracle."""
    table = torch.randn(1, side * side, 3)
    ours = resample_positions(table, grid, antialias=True).view(grid, grid, 3)
    for channel in range(3):
        image = Image.fromarray(table[0, :, channel].view(side, side).numpy())
        expected = np.asarray(image.resize((grid, grid), Image.Resampling.BICUBIC))
        np.testing.assert_allclose(ours[..., channel].numpy(), expected, atol=2e-5)


def test_a_checkpoint_of_another_resolution_loads() -> None:
    larger = TINY_SIGLIP.model_copy(update={"position_grid": 9})
    state = timm_state(larger, 3)
    vit = VisionTransformer(TINY_SIGLIP, 56, 1, 2, adapter_width=8)
    load_state(vit, state)
    antialias = TINY_SIGLIP.position_antialias
    assert torch.equal(vit.pos_embed, resample_positions(state["pos_embed"], 4, antialias))


def test_weights_of_one_backbone_do_not_pass_for_the_others() -> None:
    config = BackboneConfig(architecture=TINY_SIGLIP)
    vit = VisionTransformer(config.vit, 56, config.block, config.num_blocks, adapter_width=8)
    with pytest.raises(
        Exception, match=r"does not fit .*patch_embed\.proj\.weight \(32, 3, 14, 14\) \(found \(48"
    ):
        load_state(vit, DINOV2, "dinov2.safetensors")
