"""Prismatic: HARP-VE, a projector, and a Llama that reads patches between `<BOS>` and the prompt (paper A.3).

The sequence of every stage is `[<BOS>][patches of each camera][proprioception][prompt …]`, padded on the right, so
that positions count from zero without gaps and equal those of OpenVLA-OFT. Human images take the encoder's frozen
path and robot images the adapted one, in one pass.

Shape suffixes: B observations, I cameras, P patches, V visual tokens (I·P, and one more with proprioception), L text
tokens, N = V + L, D width of the language model.
"""

from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM, LlamaModel

from harp.policy.config import PolicyConfig
from harp.policy.language_model import empty_language_model
from harp.policy.tokenizer import Tokens
from harp.vision.encoder import HarpVisionEncoder

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class Projector(nn.Module):
    """Patch features to the language model's width: Linear, GELU, Linear, GELU, Linear."""

    def __init__(self, vision_dim: int, hidden: int, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(vision_dim, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.fc3 = nn.Linear(width, width)

    def forward(self, patches_BPF: Tensor) -> Tensor:
        gelu = nn.functional.gelu
        return self.fc3(gelu(self.fc2(gelu(self.fc1(patches_BPF)))))

    @torch.no_grad()
    def scale_to(self, patches_BPF: Tensor, spread: float) -> None:
        """Begin so that every layer tells patches apart: mean 0 and spread 1 on these, after the last layer `spread`.

        With torch's own start the tokens of the `laptop` encoder's patches differ by 0.008, where a layer adds about 1
        (after "All you need is a good init", Mishkin and Matas 2016).
        """
        values = patches_BPF.flatten(0, -2)
        for layer in (self.fc1, self.fc2, self.fc3):
            output = layer(values)
            mean = output.mean(0)
            scale = (1.0 if layer is not self.fc3 else spread) / (output - mean).std()
            layer.weight.mul_(scale)
            layer.bias.copy_(scale * (layer.bias - mean))
            values = nn.functional.gelu(layer(values))


@dataclass(frozen=True)
class Sequence:
    """Input embeddings of the language model."""

    embeddings: Tensor
    """(B, N, D)."""
    is_token: Tensor
    """(B, N) bool, False where padded."""
    num_visual: int
    """V: text token t > 0 stands at position V + t."""


class PrismaticVLA(nn.Module):
    """The vision-language-action model without heads; what stage 2 trains.

    Args:
        config: sizes.
        vision, language_model: as loaded; of random weights for tests.
    """

    def __init__(
        self, config: PolicyConfig, vision: HarpVisionEncoder, language_model: LlamaForCausalLM
    ) -> None:
        super().__init__()
        self.policy_config = config  # not `config`: peft expects a dictionary of that name
        self.vision = vision
        self.projector = Projector(config.vision.dim, config.projector_hidden, config.language_model.width)
        self.language_model = language_model
        self.train_vision("frozen")

    @property
    def backbone(self) -> LlamaModel:
        """The language model without its output layer."""
        return self.language_model.model

    def train_vision(self, part: Literal["frozen", "adapters", "all"]) -> None:
        """Choose what of the vision encoder is trained; the paper freezes it in stage 2."""
        self.vision.requires_grad_(part == "all")
        if part == "adapters":
            for name, parameter in self.vision.named_parameters():
                parameter.requires_grad_("_adapter." in name)

    def visual_tokens(self, images_BICHW: Tensor, is_robot_B: Tensor) -> Tensor:
        """Projected patches (B, I·P, D), camera after camera.

        Args:
            images_BICHW: from the encoder's `preprocess`, (B, I, 3·backbones, S, S).
            is_robot_B: bool, true where the adapters act.
        """
        B, I = images_BICHW.shape[:2]
        patches = self.vision.patch_tokens(images_BICHW.flatten(0, 1), is_robot_B.repeat_interleave(I))
        return self.project(patches.unflatten(0, (B, I)))

    def project(self, patches_BIPF: Tensor) -> Tensor:
        """The encoder's patch features as visual tokens (B, I·P, D)."""
        return self.projector(patches_BIPF).flatten(1, 2)

    def embed(self, visual_BVD: Tensor, text: Tokens, zeroed_BL: Tensor | None = None) -> Sequence:
        """Put visual tokens (and a proprioception token after them) behind `<BOS>`.

        Args:
            text: `<BOS>` and what follows it.
            zeroed_BL: bool, text tokens whose embedding is zero (action slots).
        """
        words = self.backbone.embed_tokens(text.ids)
        if zeroed_BL is not None:
            words = words.masked_fill(zeroed_BL[..., None], 0.0)
        visual = visual_BVD.to(words.dtype)
        is_visual = text.is_token.new_ones(visual.shape[:2])
        is_token = text.is_token
        return Sequence(
            embeddings=torch.cat([words[:, :1], visual, words[:, 1:]], dim=1),
            is_token=torch.cat([is_token[:, :1], is_visual, is_token[:, 1:]], dim=1),
            num_visual=visual.shape[1],
        )

    def hidden(self, sequence: Sequence, mask: Tensor | None = None) -> Tensor:
        """Hidden states (B, N, D) after the last norm.

        Args:
            mask: additive (B, 1, N, N), used as it is; causal over tokens by default.
        """
        attention_mask = sequence.is_token.long() if mask is None else mask
        output = self.backbone(
            inputs_embeds=sequence.embeddings, attention_mask=attention_mask, use_cache=False
        )
        return output.last_hidden_state


def gather(hidden_BND: Tensor, positions_BQ: Tensor) -> Tensor:
    """Hidden states (B, Q, D) at positions that differ from row to row."""
    return hidden_BND.gather(1, positions_BQ[..., None].expand(-1, -1, hidden_BND.shape[-1]))


def cast_weights(module: ModuleT, dtype: torch.dtype) -> ModuleT:
    """Parameters in another type, in place; buffers keep theirs.

    `module.to(dtype)` would take the frequencies of the rotary positions along: in bfloat16 they turn a token at place
    600 by half a radian too far.
    """
    for parameter in module.parameters():
        parameter.data = parameter.data.to(dtype)
    return module


def empty_prismatic(config: PolicyConfig) -> PrismaticVLA:
    """The model for a checkpoint to be read into: uninitialized but for the adapters, in its own dtype from the start."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(config.torch_dtype)
    try:
        return PrismaticVLA(
            config, HarpVisionEncoder(config.vision), empty_language_model(config.language_model)
        )
    finally:
        torch.set_default_dtype(default)
