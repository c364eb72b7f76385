"""Names of tensors in published checkpoints.

OpenVLA's Hugging Face names are the common language: `vision_backbone.featurizer.…` (DINOv2),
`vision_backbone.fused_featurizer.…` (SigLIP), `projector.fc1…`, `language_model.…`; LayerScale's `gamma` is
`scale_factor`. The authors add `…blocks.N.{attn,mlp}_adapter.{down,up}.…`. Native Prismatic files nest
`{"model": {"vision_backbone", "projector", "llm_backbone"}}` and differ in the prefixes below.
"""

import re
from collections.abc import Iterable

FEATURIZERS = ("featurizer", "fused_featurizer")
"""OpenVLA's names of the first and second ViT."""

_NATIVE = (
    (r"^(?:module\.)+", ""),
    (r"^model\.(?=vision_backbone|projector|llm_backbone)", ""),
    (r"^vision_backbone\.dino_featurizer\.", "vision_backbone.featurizer."),
    (r"^vision_backbone\.siglip_featurizer\.", "vision_backbone.fused_featurizer."),
    (r"^projector\.projector\.0\.", "projector.fc1."),
    (r"^projector\.projector\.2\.", "projector.fc2."),
    (r"^projector\.projector\.4\.", "projector.fc3."),
    (r"^llm_backbone\.llm\.", "language_model."),
    (r"^(vision_backbone\..*)\.gamma$", r"\1.scale_factor"),
    (r"^(vision_backbone\..*)\.register_tokens$", r"\1.reg_token"),
)

# What published files hold and no forward pass of the policy reads: the final norms and the attention pooling of the
# ViTs (features are taken before them), rotary tables of old `transformers`, an optimizer.
_INERT = re.compile(
    r"vision_backbone\.(?:fused_)?featurizer\.(?:norm|fc_norm|attn_pool|head)\..*"
    r"|language_model\..*rotary_emb\.inv_freq"
    r"|optimizer\..*"
)
_BLOCK = re.compile(r"vision_backbone\.(featurizer|fused_featurizer)\.blocks\.(\d+)\..*")


def openvla_name(name: str) -> str:
    """The common name of a tensor under any published name."""
    for pattern, replacement in _NATIVE:
        name = re.sub(pattern, replacement, name)
    return name


def published_name(own: str) -> str:
    """The common name of a tensor of `PrismaticVLA`."""
    if not own.startswith("vision."):
        return own
    _, _, index, rest = own.split(".", 3)
    return f"vision_backbone.{FEATURIZERS[int(index)]}.{re.sub(r'[.]gamma$', '.scale_factor', rest)}"


def is_adapter(name: str) -> bool:
    """Whether a tensor belongs to the robot-only adapters."""
    return "_adapter." in name


def is_inert(name: str, num_blocks: dict[str, int]) -> bool:
    """Whether a tensor, by its common name, is published but never read by a forward pass.

    Args:
        num_blocks: blocks that each featurizer is configured with; later ones come after the features.
    """
    block = _BLOCK.fullmatch(name)
    if block:
        return int(block[2]) >= num_blocks.get(block[1], 0) > 0
    return _INERT.fullmatch(name) is not None


def some(names: Iterable[str], limit: int = 3) -> str:
    """The first few names, and how many more there are."""
    ordered = sorted(names)
    more = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return ", ".join(ordered[:limit]) + more
