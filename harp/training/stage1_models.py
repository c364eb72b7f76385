"""The models of a finished stage-1 run, for everything that comes after it."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from data_schemas.errors import UserError
from data_schemas.identity import content_id, file_sha256
from harp.latent_action.language import FrozenTextEncoder
from harp.latent_action.model import LatentActionModel
from harp.training.config import Stage1Config
from harp.training.run_folder import read_run
from harp.training.stage1 import ADAPTERS, LATENT_ACTION
from harp.vision.encoder import HarpVisionEncoder, load_vision_encoder
from harp.weights import CATALOG

MODEL_FILES = ("*.safetensors", "*.bin", "*.json", "*.txt", "*.model")
"""Weights, configuration and tokenizer in a folder of a pretrained model."""


@dataclass(frozen=True)
class Stage1Models:
    """HARP-VE and HARP-LAM, in evaluation mode."""

    config: Stage1Config
    encoder: HarpVisionEncoder
    latent_action: LatentActionModel
    text: FrozenTextEncoder


def load_stage1(run: Path, device: torch.device) -> Stage1Models:
    """Encoder with its adapters, latent action model and text encoder.

    Raises:
        UserError: no finished run in the folder, or one that trained no latent action model.
    """
    config = finished_config(run)
    if config.latent_action is None:
        raise UserError(
            f"The run in {run} trained no latent action model; take one with `latent_action` sizes."
        )
    encoder = load_encoder(run)
    model, text = load_latent_action(run, config, encoder.dim, device)
    return Stage1Models(config, encoder.to(device).eval().requires_grad_(False), model, text)


def load_latent_action(
    run: Path, config: Stage1Config, vision_dim: int, device: torch.device
) -> tuple[LatentActionModel, FrozenTextEncoder]:
    """The run's latent action model, in evaluation mode, and the text encoder it reads; the run trained one."""
    assert config.latent_action is not None
    text = FrozenTextEncoder(config.text.model, config.text.max_tokens, device)
    model = LatentActionModel(vision_dim, text.dim, config.latent_action)
    model.load_state_dict(load_file(run / LATENT_ACTION))
    return model.to(device).eval().requires_grad_(False), text


def load_encoder(run: Path, *, adapters: bool = True) -> HarpVisionEncoder:
    """The run's encoder, with what it trained or with adapters at the identity.

    The state of torch's random numbers is left as it was.

    Raises:
        UserError: no finished run in the folder.
    """
    config = finished_config(run)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)  # a backbone without pretrained weights must be the one of training
        encoder = load_vision_encoder(config.vision)
    if adapters:
        encoder.load_adapter_state_dict(load_file(run / ADAPTERS))
    return encoder


def finished_config(run: Path) -> Stage1Config:
    """Configuration of a finished run.

    Raises:
        UserError: there is none in the folder.
    """
    config, _ = read_run(run)
    if not (run / "result.json").is_file():
        raise UserError(f"The run in {run} is not finished; call `harp train stage1` again to continue it.")
    return config


def stage1_identity(run: Path) -> str:
    """`stage1@…`, equal for runs whose models are equal, wherever they lie and whatever they were trained on.

    Raises:
        UserError: no finished run in the folder, or pretrained files that it names are gone.
    """
    config = finished_config(run)
    parts = {"vision": config.vision, "text": config.text, "latent_action": config.latent_action}
    sizes = json.dumps({name: part and part.model_dump(mode="json") for name, part in parts.items()})
    pretrained = [config.text.model, *(backbone.weights or "" for backbone in config.vision.backbones)]
    revisions = [CATALOG[name].model_id if name in CATALOG else _content(name) for name in pretrained]
    if not all(backbone.weights for backbone in config.vision.backbones):
        revisions.append(f"drawn from seed {config.seed}")
    files = [file_sha256(run / name) for name in (ADAPTERS, LATENT_ACTION) if (run / name).is_file()]
    return f"stage1@{content_id('stage1', sizes, *revisions, *files)}"


def _content(pretrained: str) -> str:
    """Hash of pretrained files given by their path; nothing for none.

    Raises:
        UserError: they are gone.
    """
    if not pretrained:
        return ""
    path = Path(pretrained)
    if path.is_file():
        return file_sha256(path)
    files = sorted(file for kind in MODEL_FILES for file in path.glob(kind))
    if not files:
        raise UserError(
            f"The pretrained files that the run names are gone from {path}: put them there again, or train anew."
        )
    return content_id("pretrained", *(part for file in files for part in (file.name, file_sha256(file))))
