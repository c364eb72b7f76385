"""Stage 1: train HARP-VE and HARP-LAM together on a published version (paper §3.2).

Calling again continues a killed run, and does nothing for a finished one.
"""

import hashlib
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from harp.data.frozen_features import Encode, FrozenFeatures
from harp.data.loader import Stage1Loader
from harp.data.sampling import TransitionSampler
from harp.data.shards import ShardReader
from harp.data.version import PublishedVersion
from harp.latent_action.language import FrozenTextEncoder
from harp.training.config import Stage1Config
from harp.training.loop import run_steps
from harp.training.metrics import read_metrics
from harp.training.progress import Observers, logged
from harp.training.run_folder import RunFolder
from harp.training.stage1_module import Stage1
from harp.vision.encoder import HarpVisionEncoder, load_vision_encoder

logger = logging.getLogger(__name__)

ADAPTERS = "vision_adapters.safetensors"
LATENT_ACTION = "latent_action.safetensors"
OBJECTIVE = "objective.safetensors"


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
    feature_folder: Path | None = None,
    observers: Observers | None = None,
) -> Stage1Result:
    """Train on the version in `version_root` (`<lake>/versions/<id>`), into the folder `out`.

    Args:
        feature_folder: where frozen features are kept for all runs; `frozen_features` beside `out` by default.
        observers: told of the progress, e.g. `harp.training.progress.bars`; a line in the log by default.

    Returns:
        The result; `out` then holds the adapters, the latent action model, `config.json`, `metrics.jsonl`,
        `result.json`, TensorBoard events and the last checkpoint.

    Raises:
        UserError: no such version, a changed shard, or another run in `out`.
        TrainingDiverged: a loss or gradient is not finite.
    """
    observers = observers or logged()
    version = PublishedVersion.open(version_root)
    folder = RunFolder(out, config, version)
    if folder.result:
        logger.info("Stage 1 in %s is finished; nothing to do", out)
        return Stage1Result(out, **folder.result, already_finished=True)
    logger.info("Stage 1 on %s", version.describe())

    torch.manual_seed(config.seed)
    encoder = load_vision_encoder(config.vision)
    stage = Stage1(config, encoder, FrozenTextEncoder(config.text.model, config.text.max_tokens))
    sampler = TransitionSampler(version, config.data, config.seed)
    reader = ShardReader(version, config.data.verify)
    features = FrozenFeatures.prepare(
        version,
        reader,
        encode=frozen_encoder(encoder, config.training.precision),
        identity=encoder_identity(encoder, config.training.precision),
        folder=feature_folder or out.parent / "frozen_features",
        max_token_bytes=0
        if stage.human_tokens == "none"
        else int(config.training.human_token_cache_gb * 1e9),
        progress=observers.features,
    )
    num_keypoints = config.latent_action.num_keypoints if config.latent_action else 0
    loader = Stage1Loader(
        sampler, reader, features, num_keypoints, config.training.steps, human_tokens=stage.human_tokens
    )
    run_steps(stage, loader, config.training, out, observe=observers.step)

    save_file(encoder.adapter_state_dict(), out / ADAPTERS)
    if stage.latent_action:
        save_file(stage.latent_action.state_dict(), out / LATENT_ACTION)
    if stage.objective.state_dict():
        save_file(stage.objective.state_dict(), out / OBJECTIVE)
    result = summarize(out, version.version_id)
    folder.finish(
        {name: value for name, value in asdict(result).items() if name not in ("run", "already_finished")}
    )
    return result


def frozen_encoder(encoder: HarpVisionEncoder, precision: str) -> Encode:
    """F(·) of uint8 frames (n, H, W, 3) → (n, P, D)."""

    def encode(frames: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            return encoder.frozen(encoder.preprocess(frames))

    return encode


def encoder_identity(encoder: HarpVisionEncoder, precision: str) -> str:
    """Hash of all that frozen features depend on: frozen weights, sizes, precision."""
    adapters = encoder.adapter_state_dict()
    digest = hashlib.blake2b(f"{encoder.config.model_dump_json()} {precision}".encode(), digest_size=16)
    for name, tensor in sorted(encoder.state_dict().items()):
        if name not in adapters:
            digest.update(name.encode())
            digest.update(tensor.detach().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()


def summarize(out: Path, version_id: str) -> Stage1Result:
    """Result of the run in `out`, from its metrics."""
    rows = read_metrics(out)
    last = rows[-max(1, len(rows) // 10) :]
    names = sorted(set.intersection(*(set(row) for row in last)) - {"step", "seconds"})
    return Stage1Result(
        run=out,
        version_id=version_id,
        steps=len(rows),
        seconds_per_step=sorted(row["seconds"] for row in rows)[len(rows) // 2],
        final={name: sum(row[name] for row in last) / len(last) for name in names},
    )
