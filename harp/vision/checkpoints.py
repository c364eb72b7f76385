"""Checkpoint formats: reads published weights into our ViT, whose names are timm's.

A format is a table of renames. Hugging Face stores q, k and v apart (we fuse them) and the class token's position
in the position table (we add it to the token, once, as timm does); OpenVLA stores LayerScale's `gamma` as
`scale_factor`. Whatever stands before the names is cut off: `vision_backbone.featurizer.`, `visual.trunk.`, `module.`
of data-parallel training. A checkpoint may hold several ViTs (OpenVLA and Prismatic hold two): the one that fits is
taken. Blocks behind the one that is read, final norms and heads are left out; anything else that our ViT has no place
for (registers, LayerScale) belongs to another architecture and is refused. The position table is resampled to the grid the model runs at, bicubically; DINOv2 without registers does it
without antialiasing.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from data_schemas.errors import UserError
from harp.vision.vit import VisionTransformer
from harp.weights import CATALOG, resolve
from harp.weights.tensors import open_tensors

State = dict[str, Tensor]


@dataclass(frozen=True)
class NameFormat:
    """Names of one publisher; `anchor` is the name that shows the format, `renames` are tried in order."""

    anchor: str
    renames: tuple[tuple[str, str], ...]


_ATTENTION = r"attention(?:\.attention)?\."
HUGGING_FACE_DINOV2 = NameFormat(
    anchor="embeddings.patch_embeddings.projection.weight",
    renames=(
        (r"embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
        (r"embeddings\.cls_token", "cls_token"),
        (r"embeddings\.register_tokens", "reg_token"),
        (r"embeddings\.position_embeddings", "pos_embed"),
        (r"encoder\.layer\.(\d+)\.", r"blocks.\1."),
        (rf"{_ATTENTION}(?:query|q_proj)\.", "attn.q."),
        (rf"{_ATTENTION}(?:key|k_proj)\.", "attn.k."),
        (rf"{_ATTENTION}(?:value|v_proj)\.", "attn.v."),
        (r"attention\.(?:output\.dense|o_proj)\.", "attn.proj."),
        (r"layer_scale(\d)\.lambda1", r"ls\1.gamma"),
    ),
)
HUGGING_FACE_SIGLIP = NameFormat(
    anchor="embeddings.patch_embedding.weight",
    renames=(
        (r"embeddings\.patch_embedding\.", "patch_embed.proj."),
        (r"embeddings\.position_embedding\.weight", "pos_embed"),
        (r"encoder\.layers\.(\d+)\.", r"blocks.\1."),
        (r"layer_norm(\d)\.", r"norm\1."),
        (r"self_attn\.(q|k|v)_proj\.", r"attn.\1."),
        (r"self_attn\.out_proj\.", "attn.proj."),
    ),
)
TIMM = NameFormat(
    anchor="patch_embed.proj.weight",
    renames=((r"\.scale_factor$", ".gamma"), (r"^register_tokens$", "reg_token")),
)
FORMATS = (HUGGING_FACE_DINOV2, HUGGING_FACE_SIGLIP, TIMM)

_UNREAD = re.compile(
    # The final norm of each publisher, attention pooling, classifiers; what pretraining put over hidden patches.
    r"(?:norm|fc_norm|layernorm|post_layernorm|attn_pool|head|head_dist|pooler|classifier)\..*"
    r"|(?:embeddings\.)?(?:mask_token|position_ids)"
    r"|.*_adapter\..*"
)
_BLOCK = re.compile(r"blocks\.(\d+)\..*")


def load_weights(vit: VisionTransformer, weights: str) -> None:
    """Fill a ViT (all but its adapters) from a named model, a checkpoint file, or a folder of safetensors files.

    Raises:
        UserError: no such weights, an unknown format, or sizes other than the configuration's.
    """
    path = Path(weights)
    if weights in CATALOG:
        path = resolve(weights)
    elif not path.exists():
        raise UserError(f"No weights {weights!r}: neither a file nor one of {', '.join(CATALOG)}.")
    load_state(vit, open_tensors(path), weights)


def load_state(vit: VisionTransformer, state: Mapping[str, Tensor], source: str = "checkpoint") -> None:
    """Fill a ViT (all but its adapters) from tensors under any known names.

    Raises:
        UserError: unknown names, missing tensors, other shapes, or tensors of another architecture; `source` is what
            the message calls them.
    """
    wanted = {name: tensor.shape for name, tensor in vit.state_dict().items() if "_adapter." not in name}
    misfits: list[list[str]] = []
    for name_format, prefix in _vits_in(state):
        named, strange = _native_names(state, name_format, prefix, wanted, len(vit.blocks))
        native = _fit(named, vit)
        wrong = [
            f"{name} {tuple(shape)} (found {tuple(native[name].shape) if name in native else 'nothing'})"
            for name, shape in wanted.items()
            if name not in native or native[name].shape != shape
        ] + [f"no {name}" for name in strange]
        if not wrong:
            vit.load_state_dict({name: native[name] for name in wanted}, strict=False)
            return
        misfits.append(wrong)
    if not misfits:
        raise UserError(f"{source} has names of no known format, e.g. {next(iter(state), 'none at all')!r}.")
    closest = min(misfits, key=len)
    raise UserError(
        f"{source} does not fit the configured ViT: {len(closest)} tensors differ, expected {'; '.join(closest[:3])}."
    )


def _vits_in(state: Mapping[str, Tensor]) -> list[tuple[NameFormat, str]]:
    """Format and prefix of every ViT in a checkpoint."""
    return [
        (name_format, name.removesuffix(name_format.anchor))
        for name_format in FORMATS
        for name in state
        if name.endswith(name_format.anchor)
    ]


def _native_names(
    state: Mapping[str, Tensor],
    name_format: NameFormat,
    prefix: str,
    wanted: Mapping[str, torch.Size],
    num_blocks: int,
) -> tuple[State, list[str]]:
    """(tensors of one ViT under our names, names that have no place in ours); what lies behind the output is not read."""
    native: State = {}
    strange = []
    for name in state:
        if name.startswith(prefix):
            new = name.removeprefix(prefix)
            for pattern, replacement in name_format.renames:
                new = re.sub(pattern, replacement, new)
            if re.sub(r"\.attn\.[qkv]\.", ".attn.qkv.", new) in wanted:
                native[new] = state[name]
            elif not _is_unread(new, num_blocks):
                strange.append(new)
    return _fused_qkv(native), strange


def _is_unread(name: str, num_blocks: int) -> bool:
    block = _BLOCK.fullmatch(name)
    return bool((block and int(block[1]) >= num_blocks) or _UNREAD.fullmatch(name))


def _fused_qkv(state: State) -> State:
    fused = dict(state)
    for name in state:
        if ".attn.q." in name:
            parts = [name.replace(".attn.q.", f".attn.{part}.") for part in "qkv"]
            if all(part in state for part in parts):
                fused[name.replace(".attn.q.", ".attn.qkv.")] = torch.cat([fused.pop(part) for part in parts])
    return fused


def _fit(state: State, vit: VisionTransformer) -> State:
    """Give the class token its position and resample the others to the ViT's grid."""
    positions = state.get("pos_embed")
    if positions is None:
        return state
    positions = positions.float().view(1, -1, positions.shape[-1])
    if vit.config.class_token and "cls_token" in state and _is_square(positions.shape[1] - 1):
        state = state | {"cls_token": state["cls_token"].float() + positions[:, :1]}
        positions = positions[:, 1:]
    if _is_square(positions.shape[1]) and positions.shape[1] != vit.grid**2:
        positions = resample_positions(positions, vit.grid, vit.config.position_antialias)
    return state | {"pos_embed": positions}


def _is_square(number: int) -> bool:
    return number > 0 and math.isqrt(number) ** 2 == number


def resample_positions(positions_1PD: Tensor, grid: int, antialias: bool) -> Tensor:
    """Bicubic resampling of a square table of position embeddings to `grid`×`grid`."""
    side = math.isqrt(positions_1PD.shape[1])
    table = positions_1PD.view(1, side, side, -1).permute(0, 3, 1, 2)
    table = nn.functional.interpolate(
        table, size=(grid, grid), mode="bicubic", align_corners=False, antialias=antialias
    )
    return table.permute(0, 2, 3, 1).reshape(1, grid * grid, -1)
