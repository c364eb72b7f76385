"""Reads weights into a policy, one tensor at a time, strictly.

A tensor that is missing, unexpected or of another shape stops the reading, before anything is changed, with a
sentence that names it. Three things may be absent, and mean what they say: adapters (a checkpoint without them is the
adapters' identity), an output layer tied to the embeddings, and what no forward pass reads.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from data_schemas.errors import UserError
from harp.policy.checkpoints.names import (
    FEATURIZERS,
    is_adapter,
    is_inert,
    openvla_name,
    published_name,
    some,
)
from harp.policy.prismatic import PrismaticVLA
from harp.weights.tensors import open_tensors, shape_of

NATIVE_FILE = Path("checkpoints/latest-checkpoint.pt")
HEAD_OUTPUT = "language_model.lm_head.weight"


def load_vla_weights(vla: PrismaticVLA, path: Path) -> None:
    """Fill a model from a checkpoint of OpenVLA, Prismatic, the authors or HARP.

    Args:
        path: a folder of safetensors shards, a Prismatic run folder, or one `.pt` or `.safetensors` file.

    Raises:
        UserError: no checkpoint there, or one that does not fit; the sentence names the tensors.
    """
    if path.is_dir() and not any(path.glob("*.safetensors")) and (path / NATIVE_FILE).is_file():
        path = path / NATIVE_FILE
    tensors = open_tensors(path)
    source_of = {openvla_name(name): name for name in tensors}
    targets = {published_name(name): tensor for name, tensor in vla.state_dict().items()}
    if vla.policy_config.language_model.tied_embeddings:
        targets.pop(HEAD_OUTPUT)
        source_of.pop(HEAD_OUTPUT, None)
    if not any(is_adapter(name) for name in source_of):
        targets = {name: tensor for name, tensor in targets.items() if not is_adapter(name)}
    num_blocks = {
        name: backbone.num_blocks
        for name, backbone in zip(FEATURIZERS, vla.policy_config.vision.backbones, strict=False)
    }
    copy_strictly(targets, tensors, source_of, f"{path}", lambda name: is_inert(name, num_blocks))


def load_head(module: nn.Module, path: Path) -> None:
    """Fill an action head or a proprioception projector from its own file.

    Raises:
        UserError: as `load_vla_weights`.
    """
    tensors = open_tensors(path)
    source_of = {openvla_name(name): name for name in tensors}
    copy_strictly(module.state_dict(), tensors, source_of, f"{path}")


@torch.no_grad()
def copy_strictly(
    targets: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    source_of: Mapping[str, str],
    what: str,
    may_be_left: Callable[[str], bool] = lambda name: False,
) -> None:
    """Copy tensors into a model's, converting their type.

    Args:
        targets: by common name, sharing memory with the model.
        tensors: of the checkpoint, by the names it has.
        source_of: common name → the checkpoint's name.
        what: the checkpoint, for messages.
        may_be_left: whether a tensor of the checkpoint may be ignored.

    Raises:
        UserError: names or shapes that do not match; nothing has been copied then.
    """
    missing = targets.keys() - source_of.keys()
    unexpected = {name for name in source_of.keys() - targets.keys() if not may_be_left(name)}
    shapes = {name: shape_of(tensors, source_of[name]) for name in targets.keys() & source_of.keys()}
    wrong = {
        f"{name} {shape} where {tuple(targets[name].shape)} is expected"
        for name, shape in shapes.items()
        if shape != tuple(targets[name].shape)
    }
    problems = [
        f"{kind}: {some(names)}"
        for kind, names in (("missing", missing), ("unexpected", unexpected), ("of other shape", wrong))
        if names
    ]
    if problems:
        raise UserError(f"{what} does not fit the configured policy; tensors {'; '.join(problems)}.")
    for name, target in targets.items():
        target.copy_(tensors[source_of[name]])
