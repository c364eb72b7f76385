"""What runs of stage 2 and stage 3 share: the folder, the workers, the start of the model, the result."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from pydantic import BaseModel

from data_schemas.errors import BadInput, UserError
from data_schemas.identity import content_id, file_sha256
from data_schemas.storage import everywhere
from harp.policy.checkpoints import load_vla_weights
from harp.policy.checkpoints.folder import CONFIG_FILE, POLICY
from harp.policy.config import PolicyConfig
from harp.policy.language_model import empty_language_model, load_language_model
from harp.policy.prismatic import PrismaticVLA, cast_weights, empty_prismatic
from harp.policy.tokenizer import TOKENIZER_FILE, PolicyTokenizer, language_model_folder, load_tokenizer
from harp.training.checkpoint import CHECKPOINTS, Checkpoints
from harp.training.config import OptimizationConfig
from harp.training.distributed import default_device, world_size
from harp.training.metrics import summarize_metrics
from harp.training.policy_stage import PolicyStage
from harp.training.progress import Observers, followed, logged
from harp.training.run_folder import RunFolder
from harp.training.stage1 import Launch
from harp.training.stage1_models import load_encoder
from harp.vision.encoder import load_vision_encoder

logger = logging.getLogger(__name__)

PICTURES = 8
"""That a new projector is scaled on."""
NAMED = 5
"""Clips that an error names."""
TESTS = "tests.json"
"""What the first worker measured after training."""


@dataclass(frozen=True)
class PolicyResult:
    """What a finished run of stage 2 or 3 left behind."""

    run: Path
    steps: int
    seconds_per_step: float
    """Median."""
    final: dict[str, float]
    """Metrics, averaged over the last tenth of the steps."""
    tests: dict[str, float]
    """Measured on the trained policy."""
    already_finished: bool = False
    """The run was finished before; nothing was computed."""

    @property
    def policy(self) -> Path:
        """Folder of the policy."""
        return self.run / POLICY


def run_policy_stage(
    config: BaseModel,
    training: OptimizationConfig,
    worker: Callable[..., None],
    out: Path,
    launch: Launch | None,
    observers: Observers | None,
) -> PolicyResult:
    """Run `worker(device=…, observers=…)` in this process or on many, unless `out` holds the finished run."""
    observers = observers or logged()
    with RunFolder.claimed(out, config) as folder:
        if folder.result:
            logger.info("The run in %s is finished; nothing to do", out)
            return PolicyResult(out, **folder.result, already_finished=True)
        if launch is None:
            worker(device=default_device(), observers=observers)
        else:
            with followed(out, training.steps, observers.step):
                launch(partial(_on_device, worker))
        tests = json.loads((out / TESTS).read_text())
        result = PolicyResult(out, **asdict(summarize_metrics(out)), tests=tests)
        folder.finish({k: v for k, v in asdict(result).items() if k not in ("run", "already_finished")})
        return result


def _on_device(worker: Callable[..., None], device: torch.device) -> None:
    worker(device=device, observers=logged())


def check_instructions(tokenizer: PolicyTokenizer, told: Mapping[str, str]) -> None:
    """Find before the first step what the policy cannot be told.

    Args:
        told: instruction of every clip, by the clip's name.

    Raises:
        UserError: instructions without words, or too long for the policy.
    """
    reasons = {}
    for instruction in set(told.values()):
        try:
            tokenizer.prompts([instruction])
        except BadInput as error:
            reasons[instruction] = error.detail.rstrip(".")
    refused = sorted(name for name, instruction in told.items() if instruction in reasons)
    if refused:
        named = [f"{name} ({reasons[told[name]]})" for name in refused[:NAMED]]
        more = f" and {len(refused) - NAMED} more" if len(refused) > NAMED else ""
        raise UserError(
            f"{len(refused)} of {len(told)} clips cannot be trained on: {', '.join(named)}{more}; mend their "
            "instructions, or remove them."
        )


def whole_stage(stage: PolicyStage, rebuild: Callable[[], PolicyStage], out: Path) -> PolicyStage:
    """The trained stage with all of its parameters, in the type that its policy is kept in.

    Where workers share parameters, they are read from the last checkpoint.

    Args:
        rebuild: makes the stage as it was before training.
    """
    if world_size() > 1 and stage.units_to_shard() is not None:
        stage = rebuild()
        Checkpoints(out / CHECKPOINTS).load_trained(stage)
    return cast_weights(stage, stage.policy_config.torch_dtype)


def write_tests(out: Path, tests: dict[str, float]) -> None:
    """Keep what was measured on the trained policy."""
    (out / TESTS).write_text(json.dumps(tests, indent=2))


@dataclass(frozen=True)
class Start:
    """Where a policy's weights come from, besides what its configuration names."""

    stage1: Path | None = None
    """Run whose vision encoder it takes."""
    adapters: bool = True
    """Copy that run's adapters; otherwise they begin at the identity."""
    base: Path | None = None
    """Checkpoint of the whole vision-language(-action) model."""

    def everywhere(self) -> "Start":
        """The same for workers that begin in other folders."""
        return replace(
            self, stage1=self.stage1 and everywhere(self.stage1), base=self.base and everywhere(self.base)
        )


def build_vla(config: PolicyConfig, start: Start) -> tuple[PrismaticVLA, PolicyTokenizer]:
    """The model before training, and its tokenizer. The encoder of stage 1 takes the place of the base's (paper §3.3).

    Raises:
        UserError: weights that cannot be had or do not fit.
    """
    base = start.base
    if base is None and config.language_model.weights is None:
        logger.warning(
            "The language model begins with random weights: the recipe names none and no base is given"
        )
    if base is None:
        language_model = load_language_model(config.language_model, language_model_folder(config))
    else:
        language_model = empty_language_model(config.language_model)
    encoder = (
        load_encoder(start.stage1, adapters=start.adapters)
        if start.stage1
        else load_vision_encoder(config.vision)
    )
    vla = PrismaticVLA(config, encoder, language_model)
    if base is None:
        _scale_projector(vla)
    else:
        aligned = {n: tensor.clone() for n, tensor in encoder.state_dict().items()} if start.stage1 else None
        load_vla_weights(vla, base)
        if aligned:
            # All of it: the adapters fit the ViTs they were trained on, and OpenVLA trained its own further.
            vla.vision.load_state_dict(aligned)
    own = base if base is not None and (base / TOKENIZER_FILE).is_file() else None
    return cast_weights(vla, config.torch_dtype), load_tokenizer(config, own)


def _scale_projector(vla: PrismaticVLA) -> None:
    """Let the tokens of patches differ as much as those of words do; pictures of coloured clouds stand for real ones."""
    clouds = torch.rand(PICTURES, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    pictures = torch.nn.functional.interpolate(clouds, size=vla.vision.config.image_size, mode="bicubic")
    frames = (255 * pictures.clamp(0, 1)).byte().permute(0, 2, 3, 1)
    patches = vla.vision.frozen(vla.vision.preprocess(frames))
    vla.projector.scale_to(patches, vla.backbone.embed_tokens.weight.std().item())


def reload_vla(config: PolicyConfig, folder: Path) -> tuple[PrismaticVLA, PolicyTokenizer]:
    """A policy written before, under a configuration that may add cameras and an action head."""
    vla = empty_prismatic(config)
    load_vla_weights(vla, folder)
    return vla, load_tokenizer(config, folder)


def checkpoint_identity(path: Path) -> str:
    """`NAME@…` of a checkpoint's files, whose weights a run starts from.

    Raises:
        UserError: there is nothing.
    """
    names = ("*.safetensors", "*.pt", "checkpoints/*.pt", CONFIG_FILE)
    files = [path] if path.is_file() else sorted(file for name in names for file in path.glob(name))
    if not files:
        raise UserError(f"There is no checkpoint in {path}: no safetensors and no .pt file.")
    return f"{path.name}@{content_id('checkpoint', *(file_sha256(file) for file in files))}"
