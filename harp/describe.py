"""What a recipe builds: every part with shapes, tokens, parameters and the source of its weights.

The model is built and run once on torch's meta device, where tensors have shapes and no numbers: what is shown is what
the code computes, not what somebody wrote down, and it needs neither weights nor memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForTextEncoding, BertConfig, PretrainedConfig, T5Config

from data_schemas.errors import UserError
from harp.latent_action.config import LatentActionConfig
from harp.latent_action.language import Language
from harp.latent_action.model import LatentActionModel
from harp.losses.alignment import build_objective
from harp.training.config import Stage1Config, TextConfig
from harp.vision.config import BackboneConfig, VisionConfig
from harp.vision.encoder import HarpVisionEncoder
from harp.vision.vit import VisionTransformer
from harp.weights import list_models

PUBLISHED_PARAMETERS = {"dinov2-l14-reg4": 303_230_976, "siglip-so400m-14": 427_680_704}
"""As timm counts the published ViTs: with final norm and, for SigLIP, its attention-pooling head (15.2 M)."""

TEXT_ENCODERS: dict[str, PretrainedConfig] = {
    "t5-base": T5Config(d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12),
    "minilm-l6": BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    ),
}
"""Sizes of the catalog's text encoders, so that they can be described before they are fetched."""


@dataclass(frozen=True)
class Source:
    """Where a part's pretrained weights come from."""

    name: str
    """Model of `harp weights list`, or a path."""
    revision: str | None
    license: str | None
    megabytes: float | None
    """Of the download."""
    present: bool
    """In the cache, or at the path."""


@dataclass(frozen=True)
class Part:
    """One part of a model, with its own parts."""

    name: str
    shapes: str = ""
    """Input → output; B is the batch size, L the number of text tokens."""
    tokens: int | None = None
    """That attention runs over, text not counted."""
    parameters: int = 0
    trainable: int = 0
    source: Source | None = None
    note: str = ""
    parts: tuple["Part", ...] = ()

    def walk(self, depth: int = 0) -> Iterator[tuple[int, "Part"]]:
        """Every part with its depth, parents first."""
        yield depth, self
        for part in self.parts:
            yield from part.walk(depth + 1)


def describe_stage1(config: Stage1Config, recipe: str = "stage 1") -> Part:
    """Vision encoder, text encoder and latent action model of a stage-1 configuration.

    Raises:
        UserError: a text encoder that is neither in the catalog nor a folder.
    """
    vision, encoder = describe_vision(config.vision)
    text, text_dim = describe_text(config.text)
    parts = [vision, text]
    if config.latent_action:
        parts.append(describe_latent_action(config.latent_action, encoder.dim, encoder.num_patches, text_dim))
    with torch.device("meta"):
        objective = build_objective(config.losses.alignment, encoder.dim, text_dim)
    if any(True for _ in objective.parameters()):
        sizes = f"(B, F, {encoder.num_patches}, {encoder.dim}), (B, {text_dim}) → (B, {encoder.dim})"
        parts.append(_part("task-aware pooling", objective, sizes, note="of the alignment objective"))
    return _sum(recipe, parts)


def describe_vision(config: VisionConfig) -> tuple[Part, HarpVisionEncoder]:
    """HARP-VE, and the encoder itself on the meta device."""
    with torch.device("meta"):
        encoder = HarpVisionEncoder(config)
        images = torch.empty(1, 3 * len(config.backbones), config.image_size, config.image_size)
        out = encoder.adapted(images)
    acting = {id(parameter) for parameter in encoder.trainable_parameters()}
    parts = [
        _describe_vit(backbone, cast(VisionTransformer, vit), acting, images[:, :3])
        for backbone, vit in zip(config.backbones, encoder.backbones, strict=True)
    ]
    adapters = sum(tensor.numel() for tensor in encoder.adapter_state_dict().values())
    note = f"patch tokens side by side; adapters {adapters / 1e6:.2f} M in all"
    return _sum("vision encoder (HARP-VE)", parts, _arrow(images, out), encoder.num_patches, note), encoder


def _describe_vit(
    config: BackboneConfig, vit: VisionTransformer, acting: set[int], images: torch.Tensor
) -> Part:
    sizes = config.vit
    name = config.architecture if isinstance(config.architecture, str) else f"ViT {sizes.width}×{sizes.depth}"
    frozen, adapters, trainable = 0, 0, 0
    for parameter_name, parameter in vit.named_parameters():
        if "_adapter." in parameter_name:
            adapters += parameter.numel()
            trainable += parameter.numel() * (id(parameter) in acting)
        else:
            frozen += parameter.numel()
    tokens = vit.grid**2 + sizes.num_prefix_tokens
    published = PUBLISHED_PARAMETERS.get(name, 0)
    head = " and attention-pooling head" if published - frozen > 3 * sizes.width else ""
    counted = f"; {published / 1e6:.1f} M with the published final norm{head}, not built" if published else ""
    resampled = sizes.position_grid != vit.grid
    positions = f"; positions {sizes.position_grid}² → {vit.grid}²" if resampled else ""
    hidden = max(1, sizes.width // config.adapter_reduction)
    with torch.device("meta"):
        out = vit(images, None)
    backbone = Part(
        f"ViT, {config.num_blocks} blocks of {sizes.width} with {sizes.heads} heads",
        parameters=frozen,
        source=_source(config.weights),
        note=f"frozen; read after block {config.block} of 0-{sizes.depth - 1}{positions}{counted}",
    )
    silent = "; those after the block that is read never act" if trainable < adapters else ""
    adapter = Part(
        f"robot-only adapters {sizes.width} → {hidden} → {sizes.width}",
        parameters=adapters,
        trainable=trainable,
        note=f"{2 * config.num_blocks}, two a block{silent}",
    )
    return _sum(name, [backbone, adapter], _arrow(images, out), tokens)


def describe_text(config: TextConfig) -> tuple[Part, int]:
    """The frozen text encoder and the width of its tokens."""
    source = _source(config.model)
    if config.model in TEXT_ENCODERS:
        sizes = TEXT_ENCODERS[config.model]
    elif (Path(config.model) / "config.json").is_file():
        sizes = AutoConfig.from_pretrained(config.model, local_files_only=True)
    else:
        raise UserError(
            f"No text encoder {config.model!r}: neither a folder with a config.json nor one of "
            f"{', '.join(TEXT_ENCODERS)}."
        )
    with torch.device("meta"):
        model = AutoModelForTextEncoding.from_config(sizes)
    dim = int(sizes.hidden_size)
    shapes = f"(B, L) → (B, L, {dim})"
    return Part(
        f"text encoder {Path(config.model).name}",
        shapes,
        None,
        _count(model),
        0,
        source,
        f"frozen; L at most {config.max_tokens}",
    ), dim


def describe_latent_action(
    config: LatentActionConfig, vision_dim: int, num_patches: int, text_dim: int
) -> Part:
    """HARP-LAM."""
    with torch.device("meta"):
        model = LatentActionModel(vision_dim, text_dim, config).eval()
        z = torch.empty(1, 2, num_patches, vision_dim)
        language = Language(torch.empty(1, 2, text_dim), torch.ones(1, 2, dtype=torch.bool))
        actions = model.encode(z, language, torch.ones(1, dtype=torch.bool))
        prediction = model.decode(z[:, 0], actions.quantized, language)
    Q, W = config.num_queries, config.width
    encoder_tokens, decoder_tokens = Q + 2 + num_patches, Q + num_patches
    queries = model.action_latent.numel() + model.keypoint_latent.numel() + model.effector_latent.numel()
    parts = [
        _part("queries", queries, note=f"{Q} action, 1 keypoint, 1 end effector, in each frame"),
        _part("language projection", model.lang_proj, f"(B, L, {text_dim}) → (B, L, {W})"),
        _part(
            f"encoder, {config.encoder_blocks} blocks of {W} with {config.heads} heads",
            model.encoder,
            f"(B, 2, {encoder_tokens}, {vision_dim}) + L → (B, 2, {encoder_tokens} + L, {W})",
            encoder_tokens,
            "spatial, causal temporal, FFN",
        ),
        _part("to codebook", model.to_codebook, f"(B, {Q}, {W}) → {_shape(actions.latents)}"),
        _part(
            f"codebook, {config.codebook_size} codes" + (" for each query" if model.vq.books > 1 else ""),
            model.vq,
            f"{_shape(actions.latents)} → {_shape(actions.codes)}",
        ),
        _part("keypoint head", model.keypoint_head, f"(B, 2, {W}) → {_shape(actions.keypoints)}"),
        _part("end-effector head", model.effector_head, f"(B, 2, {W}) → {_shape(actions.effector)}"),
        _part("patches up", model.patch_up, f"{_shape(z[:, 0])} → (B, {num_patches}, {W})"),
        _part("codes up", model.action_up, f"{_shape(actions.quantized)} → (B, {Q}, {W})"),
        _part(
            f"decoder, {config.decoder_blocks} blocks of {W}",
            model.decoder,
            f"(B, {decoder_tokens}, {W}) + L → {_shape(prediction)}",
            decoder_tokens,
            "spatial, FFN",
        ),
    ]
    name = "latent action model (HARP-LAM)"
    return _sum(name, parts, f"{_shape(z)} → {_shape(actions.codes)}, {_shape(prediction)}")


def _part(
    name: str, content: nn.Module | int, shapes: str = "", tokens: int | None = None, note: str = ""
) -> Part:
    number = content if isinstance(content, int) else _count(content)
    return Part(name, shapes, tokens, number, number, note=note)


def _sum(name: str, parts: list[Part], shapes: str = "", tokens: int | None = None, note: str = "") -> Part:
    total, trainable = (sum(getattr(part, kind) for part in parts) for kind in ("parameters", "trainable"))
    return Part(name, shapes, tokens, total, trainable, note=note, parts=tuple(parts))


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _shape(tensor: torch.Tensor) -> str:
    return "(" + ", ".join(["B", *map(str, tensor.shape[1:])]) + ")"


def _arrow(before: torch.Tensor, after: torch.Tensor) -> str:
    return f"{_shape(before)} → {_shape(after)}"


def _source(weights: str | None) -> Source | None:
    if weights is None:
        return None
    for state in list_models():
        if state.entry.name == weights:
            entry = state.entry
            return Source(entry.name, entry.revision, entry.license, entry.size / 1e6, state.cached)
    return Source(weights, None, None, None, Path(weights).exists())
