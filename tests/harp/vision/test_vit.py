"""Our ViT against transformers' DINOv2, DINOv2 with registers and SigLIP, on random weights of several sizes.

The adapted path is checked too: forward hooks put the adapters on the outputs of transformers' attention and FFN
modules, which is where the paper's authors hook theirs.
"""

import re
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from harp.vision.checkpoints import load_state
from harp.vision.vit import VisionTransformer, ViTConfig

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Case:
    """One architecture at one size, read at one block, run at one image size."""

    family: str
    width: int
    depth: int
    heads: int
    trained_size: int
    image_size: int
    block: int
    patch_size: int = 14
    mlp_ratio: float = 4.0
    std: float = 0.2

    def build(self) -> tuple[nn.Module, VisionTransformer]:
        """transformers' model with random weights everywhere, and ours filled from it."""
        torch.manual_seed(self.width)
        common: dict[str, Any] = {
            "hidden_size": self.width,
            "num_hidden_layers": self.depth,
            "num_attention_heads": self.heads,
            "image_size": self.trained_size,
            "patch_size": self.patch_size,
        }
        if self.family == "dinov2":
            reference = Dinov2Model(Dinov2Config(**common))
        elif self.family == "registers":
            reference = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**common, num_register_tokens=4))
        else:
            mlp_width = int(self.mlp_ratio * self.width)
            reference = SiglipVisionModel(SiglipVisionConfig(**common, intermediate_size=mlp_width))
        with torch.no_grad():
            for parameter in reference.parameters():
                parameter.copy_(torch.randn_like(parameter) * self.std)
        config = ViTConfig(
            width=self.width,
            depth=self.depth,
            heads=self.heads,
            mlp_width=int(self.mlp_ratio * self.width),
            patch_size=self.patch_size,
            position_grid=self.trained_size // self.patch_size,
            position_antialias=self.family == "registers",
            class_token=self.family != "siglip",
            num_registers=4 if self.family == "registers" else 0,
            layer_scale=self.family != "siglip",
            activation="gelu_tanh" if self.family == "siglip" else "gelu",
        )
        ours = VisionTransformer(config, self.image_size, self.block, self.block + 1, adapter_width=8)
        load_state(ours, reference.state_dict())
        return reference.eval(), ours

    def reference_tokens(self, reference: nn.Module, images: Tensor) -> Tensor:
        resample = {"interpolate_pos_encoding": True} if self.family == "siglip" else {}
        with torch.no_grad():
            hidden = reference(images, output_hidden_states=True, **resample).hidden_states[self.block + 1]
        return hidden[:, {"dinov2": 1, "registers": 5, "siglip": 0}[self.family] :]


CASES = [
    Case("dinov2", width=32, depth=3, heads=4, trained_size=56, image_size=56, block=1),
    Case("dinov2", width=48, depth=4, heads=6, trained_size=518, image_size=112, block=2),
    Case("dinov2", width=24, depth=2, heads=2, trained_size=70, image_size=224, block=0),
    Case("registers", width=32, depth=3, heads=4, trained_size=56, image_size=56, block=1),
    Case("registers", width=64, depth=5, heads=4, trained_size=518, image_size=224, block=3),
    Case("registers", width=40, depth=3, heads=5, trained_size=96, image_size=64, block=1, patch_size=16),
    Case("siglip", width=32, depth=3, heads=4, trained_size=56, image_size=56, block=1, mlp_ratio=3),
    Case("siglip", width=72, depth=4, heads=6, trained_size=224, image_size=224, block=2, mlp_ratio=3.75),
    Case("siglip", width=36, depth=2, heads=3, trained_size=224, image_size=112, block=0),
    # The paper's widths, with few blocks.
    Case("registers", 1024, 2, 16, trained_size=518, image_size=224, block=0, std=0.02),
    Case("siglip", 1152, 2, 16, trained_size=224, image_size=224, block=0, mlp_ratio=4304 / 1152, std=0.02),
]


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.family}-{case.width}-{case.trained_size}-{case.image_size}"
)
def test_equals_transformers(case: Case) -> None:
    reference, ours = case.build()
    images = torch.randn(2, 3, case.image_size, case.image_size)
    with torch.no_grad():
        tokens = ours(images, None)
    expected = case.reference_tokens(reference, images)
    assert tokens.shape == (2, (case.image_size // case.patch_size) ** 2, case.width)
    assert (tokens - expected).abs().max() <= TOLERANCE


@pytest.mark.parametrize("case", [CASES[1], CASES[4], CASES[7]], ids=lambda case: case.family)
def test_adapted_path_equals_adapters_hooked_into_transformers(case: Case) -> None:
    reference, ours = case.build()
    adapters = {name: parameter for name, parameter in ours.named_parameters() if "_adapter." in name}
    with torch.no_grad():
        for parameter in adapters.values():
            parameter.copy_(torch.randn_like(parameter) * 0.1)

    def adapt(y: Tensor, name: str) -> Tensor:
        """The formula of the paper, on every token but the class token."""
        down, up = (
            (adapters[f"{name}.{layer}.weight"], adapters[f"{name}.{layer}.bias"]) for layer in ("down", "up")
        )
        adapted = y + nn.functional.gelu(y @ down[0].T + down[1]) @ up[0].T + up[1]
        return torch.cat([y[:, :1], adapted[:, 1:]], dim=1) if case.family != "siglip" else adapted

    def hook(name: str) -> Any:
        def run(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            return (adapt(output[0], name), *output[1:]) if isinstance(output, tuple) else adapt(output, name)

        return run

    for name, module in reference.named_modules():
        if match := re.fullmatch(r".*layers?\.(\d+)\.(attention|self_attn|mlp)", name):
            branch = "mlp" if match[2] == "mlp" else "attn"
            if int(match[1]) <= case.block:
                module.register_forward_hook(hook(f"blocks.{match[1]}.{branch}_adapter"))
    images = torch.randn(2, 3, case.image_size, case.image_size)
    with torch.no_grad():
        tokens = ours(images, slice(None))
        assert (tokens - ours(images, None)).abs().max() > 0.01
    assert (tokens - case.reference_tokens(reference, images)).abs().max() <= TOLERANCE


def test_sizes_that_do_not_fit_are_refused() -> None:
    config = CASES[0].build()[1].config
    with pytest.raises(ValueError, match="image_size 60 is not a multiple of the patch size 14"):
        VisionTransformer(config, 60, 1, 2, adapter_width=8)
    with pytest.raises(ValueError, match="output_block 3"):
        VisionTransformer(config, 56, 3, 3, adapter_width=8)
