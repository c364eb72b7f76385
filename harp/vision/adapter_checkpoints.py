"""Adapters in the layout of the paper's authors, so that theirs run here and ours run there.

Inside a policy they are `vision_backbone.featurizer.blocks.N.{attn,mlp}_adapter.{down,up}.{weight,bias}` for DINOv2 and
`vision_backbone.fused_featurizer.…` for SigLIP; out of stage 1 they are two files, one per ViT, named from `blocks.` on.
Prismatic's names (`dino_featurizer`, `siglip_featurizer`), ours (`backbones.0`) and prefixes of data-parallel training
are read too. Adapters of blocks after the output block never act (the authors' last ones never got a gradient), so a
file may have them or lack them.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from data_schemas.errors import UserError
from harp.vision.encoder import HarpVisionEncoder
from harp.weights.tensors import open_tensors

FEATURIZERS = ("featurizer", "fused_featurizer")
"""The authors' names of the first and second ViT."""

_NAME = re.compile(
    r"(?:(?P<vit>.*)\.)?(?P<adapter>blocks\.\d+\.(?:attn|mlp)_adapter\.(?:down|up)\.(?:weight|bias))"
)
_VIT_INDEX = {"featurizer": 0, "dino_featurizer": 0, "fused_featurizer": 1, "siglip_featurizer": 1}


def authors_adapter_state(encoder: HarpVisionEncoder) -> dict[str, Tensor]:
    """Adapters under the names of the authors' policy checkpoints; of at most two backbones."""
    state = {}
    for name, tensor in encoder.adapter_state_dict().items():
        _, index, adapter = name.split(".", 2)
        state[f"vision_backbone.{FEATURIZERS[int(index)]}.{adapter}"] = tensor
    return state


def write_adapters(encoder: HarpVisionEncoder, folder: Path) -> list[Path]:
    """Write the authors' stage-1 files, one per ViT (`featurizer_adapter.safetensors`, …), with names from `blocks.` on."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(len(encoder.backbones)):
        prefix = f"backbones.{index}."
        state = {
            name.removeprefix(prefix): tensor.contiguous()
            for name, tensor in encoder.adapter_state_dict().items()
            if name.startswith(prefix)
        }
        paths.append(folder / f"{FEATURIZERS[index]}_adapter.safetensors")
        save_file(state, paths[-1])
    return paths


def read_adapters(encoder: HarpVisionEncoder, checkpoints: Sequence[Path]) -> None:
    """Set the adapters from one checkpoint that holds all of them, or from one file per ViT in the encoder's order.

    Args:
        checkpoints: safetensors or torch files, or folders of safetensors files (a policy, a stage-1 run's file).

    Raises:
        UserError: no adapters in a file, or others than this encoder's.
    """
    found: dict[str, Tensor] = {}
    for position, path in enumerate(checkpoints):
        tensors = open_tensors(path)
        names = {name: match for name in tensors if (match := _NAME.fullmatch(name))}
        if not names:
            raise UserError(f"{path} holds no adapters, e.g. no 'blocks.0.attn_adapter.down.weight'.")
        for name, match in names.items():
            found[f"backbones.{_vit_index(match['vit'] or '', position)}.{match['adapter']}"] = tensors[name]
    acting = encoder.acting_adapters()
    own = encoder.adapter_state_dict()
    silent = {name: own[name] for name in own.keys() - acting}
    given = {
        name: tensor for name, tensor in found.items() if name in own or not _after_output(encoder, name)
    }
    encoder.load_adapter_state_dict(silent | given)


def _vit_index(prefix: str, position: int) -> int:
    """Which ViT a name belongs to; a name that does not say so belongs to the file's."""
    for part in reversed(prefix.split(".")):
        if part in _VIT_INDEX:
            return _VIT_INDEX[part]
        if part.isdigit():
            return int(part)
    return position


def _after_output(encoder: HarpVisionEncoder, name: str) -> bool:
    _, index, _, block, *_ = name.split(".")
    backbones = encoder.config.backbones
    return int(index) < len(backbones) and int(block) > backbones[int(index)].block
