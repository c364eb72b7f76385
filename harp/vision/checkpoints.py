"""Checkpoint formats: reads published weights into our ViT, whose names are timm's.

A format is a table of renames. Hugging Face stores q, k and v apart (we fuse them) and the class token's position
in the position table (we add it to the token, once). The position table is resampled to the grid the model runs at
with the release's own bicubic kernel; DINOv2 without registers does it without antialiasing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from data_schemas.errors import UserError
from harp.vision.vit import VisionTransformer
from harp.weights import CATALOG, resolve

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
FORMATS = (HUGGING_FACE_DINOV2, HUGGING_FACE_SIGLIP)


def load_weights(vit: VisionTransformer, weights: str) -> None:
    """Fill a ViT (all but its adapters) from a named model, a safetensors file, or a folder of them.

    Raises:
        UserError: no such weights, an unknown format, or sizes other than the configuration's.
    """
    path = Path(weights)
    if weights in CATALOG:
        path = resolve(weights)
    elif not path.exists():
        raise UserError(f"No weights {weights!r}: neither a file nor one of {', '.join(CATALOG)}.")
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not files or any(file.suffix != ".safetensors" for file in files):
        raise UserError(f"No safetensors file in {path}; pickled checkpoints are not read.")
    state: State = {}
    for file in files:
        state |= load_file(file)
    load_state(vit, state, weights)


def load_state(vit: VisionTransformer, state: Mapping[str, Tensor], source: str = "checkpoint") -> None:
    """Fill a ViT (all but its adapters) from tensors under any known names; blocks it lacks are left out.

    Raises:
        UserError: unknown names, missing tensors, or other shapes; `source` is what the message calls them.
    """
    native = _fit(_native_names(state, source), vit)
    wanted = {name: tensor.shape for name, tensor in vit.state_dict().items() if "_adapter." not in name}
    wrong = [
        f"{name} {tuple(shape)} (found {tuple(native[name].shape) if name in native else 'nothing'})"
        for name, shape in wanted.items()
        if name not in native or native[name].shape != shape
    ]
    if wrong:
        raise UserError(f"{source} does not fit the configured ViT: expected {'; '.join(wrong[:3])}.")
    vit.load_state_dict({name: native[name] for name in wanted}, strict=False)


def _native_names(state: Mapping[str, Tensor], source: str) -> State:
    for name_format in FORMATS:
        prefixes = [
            name.removesuffix(name_format.anchor) for name in state if name.endswith(name_format.anchor)
        ]
        if prefixes:
            prefix = prefixes[0]
            break
    else:
        raise UserError(f"{source} has names of no known format, e.g. {next(iter(state), 'none at all')!r}.")
    native: State = {}
    for name, tensor in state.items():
        if name.startswith(prefix):
            new = name.removeprefix(prefix)
            for pattern, replacement in name_format.renames:
                new = re.sub(pattern, replacement, new)
            native[new] = tensor
    return _fused_qkv(native)


def _fused_qkv(state: State) -> State:
    fused = dict(state)
    for name in state:
        if ".attn.q." in name:
            parts = [fused.pop(name.replace(".attn.q.", f".attn.{part}.")) for part in "qkv"]
            fused[name.replace(".attn.q.", ".attn.qkv.")] = torch.cat(parts)
    return fused


def _fit(state: State, vit: VisionTransformer) -> State:
    """Give the class token its position and resample the others to the ViT's grid."""
    positions = state.get("pos_embed")
    if positions is None:
        return state
    config = vit.config
    positions = positions.float().view(1, -1, positions.shape[-1])
    with_class_token = positions.shape[1] == config.position_grid**2 + 1
    if config.class_token and with_class_token and "cls_token" in state:
        state = state | {"cls_token": state["cls_token"] + positions[:, :1]}
        positions = positions[:, 1:]
    if positions.shape[1] == config.position_grid**2 and config.position_grid != vit.grid:
        positions = resample_positions(positions, vit.grid, config.position_antialias)
    return state | {"pos_embed": positions}


def resample_positions(positions_1PD: Tensor, grid: int, antialias: bool) -> Tensor:
    """Bicubic resampling of a square table of position embeddings to `grid`×`grid`."""
    side = int(positions_1PD.shape[1] ** 0.5)
    table = positions_1PD.view(1, side, side, -1).permute(0, 3, 1, 2)
    table = nn.functional.interpolate(
        table, size=(grid, grid), mode="bicubic", align_corners=False, antialias=antialias
    )
    return table.permute(0, 2, 3, 1).reshape(1, grid * grid, -1)
