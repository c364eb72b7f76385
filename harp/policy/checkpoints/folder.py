"""A policy as a folder, laid out as the authors' release.

    policy.json                      our configuration
    config.json                      preprocessor_config.json        OpenVLA's, where the architecture is OpenVLA's
    model-0000X-of-0000Y.safetensors model.safetensors.index.json    OpenVLA's names
    tokenizer.json                   tokenizer_config.json           with <PAD> and <ACT_i>
    action_head.pt                   proprio_projector.pt            stage 3 only
    normalization.json               stage 3 only

OpenVLA's loader insists on the tensors its ViTs have behind the features; they are written as ones and zeros, since
nothing reads them. The folder appears whole: it is written beside its place and renamed.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import save_torch_state_dict
from pydantic import ValidationError
from torch import Tensor

from data_schemas.errors import UserError
from harp.policy.action_policy import ActionPolicy, build_action_policy
from harp.policy.checkpoints.names import published_name
from harp.policy.checkpoints.openvla_config import behind_features, openvla_config, openvla_preprocessor
from harp.policy.checkpoints.read import HEAD_OUTPUT, load_head, load_vla_weights
from harp.policy.config import PolicyConfig, preset
from harp.policy.normalization import Normalization
from harp.policy.normalization_files import AUTHORS_FILE, OFT_FILE, read_normalization, write_normalization
from harp.policy.prismatic import PrismaticVLA, empty_prismatic
from harp.policy.tokenizer import TOKENIZER_FILE, PolicyTokenizer, load_tokenizer

CONFIG_FILE = "policy.json"
POLICY = "policy"
"""Folder of the trained policy within a run."""
ACTION_HEAD, PROPRIO_PROJECTOR = "action_head", "proprio_projector"


@dataclass(frozen=True)
class LoadedPolicy:
    """What a folder holds."""

    vla: PrismaticVLA
    policy: ActionPolicy | None
    """None for a model of stage 2."""
    tokenizer: PolicyTokenizer
    normalization: Mapping[str, Normalization]
    """By data set; empty for a model of stage 2."""


def write_policy(
    model: PrismaticVLA | ActionPolicy,
    tokenizer: PolicyTokenizer,
    folder: Path,
    normalization: Mapping[str, Normalization] | None = None,
    max_shard_size: str = "7GB",
) -> None:
    """Write a model of stage 2 or a policy of stage 3; an older folder of the name is replaced."""
    vla = model.vla if isinstance(model, ActionPolicy) else model
    partial = folder.with_name(f".partial-{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_torch_state_dict(
        published_state(vla),
        partial,
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=max_shard_size,
        metadata={"format": "pt"},
    )
    (partial / CONFIG_FILE).write_text(vla.policy_config.model_dump_json(indent=2))
    if config := openvla_config(vla.policy_config):
        (partial / "config.json").write_text(json.dumps(config, indent=2))
        preprocessor = openvla_preprocessor(vla.policy_config.vision)
        (partial / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2))
    tokenizer.save(partial)
    if isinstance(model, ActionPolicy):
        torch.save(model.action_head.state_dict(), partial / f"{ACTION_HEAD}.pt")
        if model.proprio_projector is not None:
            torch.save(model.proprio_projector.state_dict(), partial / f"{PROPRIO_PROJECTOR}.pt")
    if normalization:
        write_normalization(partial / AUTHORS_FILE, normalization)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def published_state(vla: PrismaticVLA) -> dict[str, Tensor]:
    """All tensors under OpenVLA's names; adapters under the authors'."""
    state = {published_name(name): tensor.contiguous() for name, tensor in vla.state_dict().items()}
    if vla.policy_config.language_model.tied_embeddings:
        del state[HEAD_OUTPUT]
    return state | behind_features(vla.policy_config.vision, vla.projector.fc1.weight.dtype)


def load_policy(folder: Path, config: PolicyConfig | None = None) -> LoadedPolicy:
    """Read a folder of ours, of the authors, or of OpenVLA-OFT.

    Args:
        config: of a checkpoint that has no `policy.json`, i.e. was not written here.

    Raises:
        UserError: files missing or not fitting.
    """
    config = config or read_config(folder)
    vla = empty_prismatic(config)
    load_vla_weights(vla, folder)
    tokenizer = load_tokenizer(config, folder if (folder / TOKENIZER_FILE).is_file() else None)
    normalization = {}
    if any((folder / name).is_file() for name in (AUTHORS_FILE, OFT_FILE)):
        normalization = read_normalization(folder, config.action.bounds if config.action else "quantiles")
    if config.action is None:
        return LoadedPolicy(vla.eval(), None, tokenizer, normalization)
    policy = build_action_policy(vla)
    load_heads(policy, folder)
    return LoadedPolicy(vla.eval(), policy.eval(), tokenizer, normalization)


def load_heads(policy: ActionPolicy, folder: Path) -> None:
    """Fill the action head, and the projector of the robot's state where the policy has one.

    Raises:
        UserError: files missing or not fitting.
    """
    load_head(policy.action_head, _head_file(folder, ACTION_HEAD))
    if policy.proprio_projector is not None:
        load_head(policy.proprio_projector, _head_file(folder, PROPRIO_PROJECTOR))


def policy_in(path: str | Path) -> Path | None:
    """Folder of a policy, also where that of its run is given; None where there is none."""
    folders = (Path(path), Path(path) / POLICY)
    return next((folder for folder in folders if (folder / CONFIG_FILE).is_file()), None)


def find_policy(path: str | Path, others: Sequence[str] = ()) -> Path:
    """As `policy_in`, where there has to be one.

    Args:
        others: what may be given instead of a folder, for the message.

    Raises:
        UserError: there is none.
    """
    folder = policy_in(path)
    if folder is None:
        instead = f", or one of {', '.join(others)}" if others else ""
        raise UserError(
            f"'{path}' holds no policy ({CONFIG_FILE}): give the folder of a finished `harp train stage3`{instead}."
        )
    return folder


def read_config(folder: Path) -> PolicyConfig:
    """The configuration in a folder: all sizes, as it is written here, or a preset with changes, as by hand.

    Raises:
        UserError: none there, or of another version.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise UserError(
            f"There is no {CONFIG_FILE} in {folder}; docs/policy_training.md says how to write one for a policy from "
            "elsewhere."
        )
    try:
        return PolicyConfig.model_validate(preset(json.loads(path.read_text())))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise UserError(f"{path}, key '{where}': {problem['msg']}.") from None
    except ValueError as error:
        raise UserError(f"{path} cannot be read: {error}.") from None


def _head_file(folder: Path, stem: str) -> Path:
    """`action_head.pt` (the authors) or `action_head--150000_checkpoint.pt` (OpenVLA-OFT)."""
    files = sorted(folder.glob(f"{stem}.pt")) or sorted(folder.glob(f"{stem}--*.pt"))
    if len(files) != 1:
        found = ", ".join(path.name for path in files) or "none"
        raise UserError(f"Expected one {stem}.pt in {folder}, found {found}.")
    return files[0]
