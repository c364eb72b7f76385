"""Stage 1: train HARP-VE and HARP-LAM together on a published version (paper §3.2).

Calling again continues a killed run, and does nothing for a finished one.
"""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file

from data_schemas.errors import UserError
from data_schemas.storage import everywhere
from harp.data.frozen_features import Encode, FrozenFeatures
from harp.data.loader import Stage1Loader
from harp.data.prefetch import check_split
from harp.data.sampling import TransitionSampler
from harp.data.shards import ShardReader
from harp.data.version import PublishedVersion
from harp.latent_action.language import FrozenTextEncoder
from harp.training.config import Stage1Config
from harp.training.distributed import default_device, rank, world_size
from harp.training.loop import run_steps
from harp.training.metrics import summarize_metrics
from harp.training.progress import Observers, followed, logged
from harp.training.run_folder import RunFolder
from harp.training.stage1_module import Stage1
from harp.training.tensors_identity import tensors_identity
from harp.vision.encoder import HarpVisionEncoder, load_vision_encoder

logger = logging.getLogger(__name__)

ADAPTERS = "vision_adapters.safetensors"
LATENT_ACTION = "latent_action.safetensors"
OBJECTIVE = "objective.safetensors"

Launch = Callable[[Callable[[torch.device], None]], None]
"""Runs what it is given on every worker, with the device of each, inside one process group."""


@dataclass(frozen=True)
class Stage1Result:
    """What a finished run left behind."""

    run: Path
    version_id: str
    steps: int
    seconds_per_step: float
    """Median."""
    final: dict[str, float]
    """Metrics, averaged over the last tenth of the steps."""
    already_finished: bool = False
    """The run was finished before; nothing was computed."""


def train_stage1(
    config: Stage1Config,
    version_root: Path,
    out: Path,
    *,
    launch: Launch | None = None,
    feature_folder: Path | None = None,
    observers: Observers | None = None,
) -> Stage1Result:
    """Train on the version in `version_root` (`<lake>/versions/<id>`), into the folder `out`.

    Args:
        launch: starts many workers, each with its part of every batch, e.g. `harp.training.ray_workers.OnRay`; by
            default this process is the only one. The result is the same but for rounding, so a run may be
            continued by another number of workers.
        feature_folder: where frozen features are kept for all runs; `frozen_features` beside `out` by default.
        observers: told of the progress, e.g. `harp.training.progress.bars`; a line in the log by default.

    Returns:
        The result; `out` then holds the adapters, the latent action model, `config.json`, `metrics.jsonl`,
        `result.json`, TensorBoard events and the last checkpoint.

    Raises:
        UserError: no such version, a changed shard, another run in `out`, a batch that cannot be split, or nothing
            to train on.
        TrainingDiverged: a loss or gradient is not finite.
    """
    observers = observers or logged()
    version_root, out = everywhere(version_root), everywhere(out)
    features = everywhere(feature_folder or out.parent / "frozen_features")
    version = PublishedVersion.open(version_root, config.data.other_versions)
    with RunFolder.claimed(out, config, version) as folder:
        if folder.result:
            logger.info("Stage 1 in %s is finished; nothing to do", out)
            return Stage1Result(out, **folder.result, already_finished=True)
        logger.info("Stage 1 on %s", version.describe())
        paths = WorkerPaths(version_root, out, features)
        if launch is None:
            run_worker(config, paths, default_device(), observers)
        else:
            with followed(out, config.training.steps, observers.step):
                launch(partial(run_worker, config, paths))
        result = Stage1Result(out, version.version_id, **asdict(summarize_metrics(out)))
        folder.finish(
            {name: value for name, value in asdict(result).items() if name not in ("run", "already_finished")}
        )
        return result


@dataclass(frozen=True)
class WorkerPaths:
    """Folders that all workers share."""

    version: Path
    out: Path
    features: Path


def run_worker(
    config: Stage1Config, paths: WorkerPaths, device: torch.device, observers: Observers | None = None
) -> None:
    """One worker's part of a run; where it is the only one, the whole of it."""
    observers = observers or logged()
    torch.manual_seed(config.seed)
    version = PublishedVersion.open(paths.version, config.data.other_versions)
    sampler = TransitionSampler(version, config.data, config.seed)
    check_split(sampler.sizes, world_size(), config.training.accumulate)  # before hours of frozen features
    has_pairs = sampler.pairs_per_batch > 0
    if config.latent_action is None and not has_pairs:
        raise UserError(
            f"Without latent_action a run needs pairs to train on; there is {version.describe()}."
        )
    encoder = load_vision_encoder(config.vision).to(device)
    text = FrozenTextEncoder(config.text.model, config.text.max_tokens, device)
    stage = Stage1(config, encoder, text, has_pairs).to(device)
    reader = ShardReader(version, config.data.verify)
    features = FrozenFeatures.prepare(
        version,
        reader,
        encode=frozen_encoder(encoder, config.training.precision),
        identity=encoder_identity(encoder, config.training.precision),
        folder=paths.features,
        max_token_bytes=int(config.training.human_token_cache_gb * 1e9),
        progress=observers.features,
    )
    loader = Stage1Loader(
        sampler,
        reader,
        features,
        config.latent_action.num_keypoints if config.latent_action else 0,
        config.training.steps,
        human_tokens=stage.human_tokens,
        rank=rank(),
        world_size=world_size(),
        accumulate=config.training.accumulate,
    )
    run_steps(
        stage, loader, config.training, paths.out, seed=config.seed, observe=observers.step, device=device
    )
    if rank() == 0:
        save_stage(stage, paths.out)


def save_stage(stage: Stage1, out: Path) -> None:
    """Write what was trained, each part as a file of its own."""
    parts = {ADAPTERS: stage.encoder.adapter_state_dict(), OBJECTIVE: stage.objective.state_dict()}
    if stage.latent_action:
        parts[LATENT_ACTION] = stage.latent_action.state_dict()
    for name, state in parts.items():
        if state:
            save_file({key: tensor.cpu().contiguous() for key, tensor in state.items()}, out / name)


def frozen_encoder(encoder: HarpVisionEncoder, precision: str) -> Encode:
    """F(·) of uint8 frames (n, H, W, 3) → (n, P, D)."""

    def encode(frames: torch.Tensor) -> torch.Tensor:
        device = next(encoder.parameters()).device
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            return encoder.frozen(encoder.preprocess(frames.to(device))).cpu()

    return encode


def encoder_identity(encoder: HarpVisionEncoder, precision: str) -> str:
    """Hash of all that frozen features depend on: frozen weights, sizes, precision."""
    adapters = encoder.adapter_state_dict()
    frozen = {name: tensor for name, tensor in encoder.state_dict().items() if name not in adapters}
    return tensors_identity(frozen, f"{encoder.config.model_dump_json()} {precision}")
