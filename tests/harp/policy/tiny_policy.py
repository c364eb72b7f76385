"""A policy of a few thousand weights with two ViTs, as OpenVLA has them."""

import torch
from torch import Tensor

from harp.policy.action_policy import Observations
from harp.policy.config import ActionConfig, LanguageModelConfig, PolicyConfig
from harp.policy.language_model import load_language_model
from harp.policy.prismatic import PrismaticVLA, cast_weights
from harp.policy.tokenizer import load_tokenizer
from harp.vision.config import BackboneConfig, VisionConfig
from harp.vision.encoder import load_vision_encoder
from harp.vision.vit import ViTConfig

DINO = ViTConfig(
    width=16,
    depth=3,
    heads=2,
    mlp_width=32,
    position_grid=2,
    class_token=True,
    num_registers=2,
    layer_scale=True,
)
SIGLIP = ViTConfig(
    width=24, depth=3, heads=2, mlp_width=40, position_grid=2, class_token=False, layer_scale=False
)
VISION = VisionConfig(
    backbones=tuple(
        BackboneConfig(architecture=vit, adapter_reduction=4, trim=False) for vit in (DINO, SIGLIP)
    ),
    image_size=28,
)
LANGUAGE = LanguageModelConfig(
    width=32,
    depth=2,
    heads=4,
    kv_heads=2,
    mlp_width=48,
    vocabulary=258,
    bos_id=256,
    eos_id=257,
    max_tokens=512,
)
ACTION = ActionConfig(chunk=3, dim=4, proprioception_dim=5, latent_head_width=64)


def tiny_config(**changes: object) -> PolicyConfig:
    return PolicyConfig(vision=VISION, language_model=LANGUAGE).model_copy(update=changes)


def tiny_vla(seed: int = 0, **changes: object) -> PrismaticVLA:
    """Random weights, all of them: adapters that act, biases and norms that are not at their start."""
    torch.manual_seed(seed)
    config = tiny_config(**changes)
    language_model = load_language_model(config.language_model, None)
    vla = PrismaticVLA(config, load_vision_encoder(config.vision), language_model)
    cast_weights(vla, config.torch_dtype)
    with torch.no_grad():
        for parameter in vla.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return vla.eval()


def images(number: int, cameras: int = 1, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(number, cameras, 6, 28, 28, generator=generator)


def observations(vla: PrismaticVLA, instructions: list[str], seed: int = 1) -> Observations:
    config = vla.policy_config
    state_dim = config.action.proprioception_dim if config.action else None
    generator = torch.Generator().manual_seed(seed + 1)
    return Observations(
        images=images(len(instructions), config.cameras, seed),
        prompts=load_tokenizer(config).prompts(instructions),
        proprioception=torch.randn(len(instructions), state_dim, generator=generator) if state_dim else None,
    )
