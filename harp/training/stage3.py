"""Stage 3: train a policy's action head and its model on demonstrations with actions (paper §3.4, A.3).

Calling again continues a killed run, and does nothing for a finished one.
"""

from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch

from data_schemas.storage import everywhere
from harp.data.policy_chunks import Stage3Loader
from harp.data.policy_episodes import EpisodeSet
from harp.policy.checkpoints import write_policy
from harp.policy.checkpoints.folder import load_heads, read_config
from harp.policy.lora import merge_lora
from harp.policy.prismatic import PrismaticVLA
from harp.training.distributed import default_device, rank, to_device, wait_for_all, world_size
from harp.training.loop import run_steps
from harp.training.policy_run import (
    POLICY,
    PolicyResult,
    Start,
    build_vla,
    check_instructions,
    reload_vla,
    run_policy_stage,
    whole_stage,
    write_tests,
)
from harp.training.progress import Observers, logged
from harp.training.stage1 import Launch
from harp.training.stage3_codes import episode_codes
from harp.training.stage3_config import Stage3Config, policy_folder, resolve_stage3
from harp.training.stage3_features import EpisodeFeatures, episode_features
from harp.training.stage3_module import Stage3

VERIFIED = 2
"""Observations on which the merge of the low-rank updates is verified."""


def train_stage3(
    config: Stage3Config,
    policy: str,
    demonstrations: Path,
    out: Path,
    *,
    start: Start | None = None,
    frames_folder: Path | None = None,
    launch: Launch | None = None,
    observers: Observers | None = None,
) -> PolicyResult:
    """Train on a folder of demonstrations, into the folder `out`.

    Args:
        policy: folder of stage 2 (its run, or the policy in it), or of stage 3, whose action head is trained on, or a
            name of `harp.policy.config.POLICIES` to begin without latent pretraining.
        demonstrations: folder in the layout of `data_schemas.episodes`.
        start: with a named policy the stage-1 run, which then gives the encoder, and a checkpoint to start from; with
            the latent head the stage-1 run that labels the demonstrations.
        frames_folder: where decoded videos are kept; `episode_frames` beside `out` by default.
        launch: starts many workers, each with its part of every batch; by default this process is the only one.
        observers: told of the progress; a line in the log by default.

    Returns:
        The result; `out` then holds the policy's folder, which `harp.policy.predict.Predictor.load` serves.

    Raises:
        UserError: no such policy or demonstrations, an action head that does not fit them, an episode that cannot be
            trained on, another run in `out`, a batch that cannot be split.
        TrainingDiverged: a loss or gradient is not finite.
        RuntimeError: merging the low-rank updates changed the predictions.
    """
    start, observers = (start or Start()).everywhere(), observers or logged()
    policy, out = str(policy_folder(policy) or policy), everywhere(out)
    folder = everywhere(frames_folder or out.parent / "episode_frames")
    episodes = EpisodeSet.open(everywhere(demonstrations), folder, config.data.episodes_per_task)
    resolved = resolve_stage3(config, policy, episodes, start)
    if not (out / "result.json").is_file():
        episodes.decode(config.data.cameras, observers.features)
        if resolved.head.kind == "latent" and start.stage1:
            episode_codes(episodes, start.stage1, default_device(), observers.features)
    worker = partial(run_worker, resolved, policy, episodes, out, start)
    return run_policy_stage(resolved, resolved.training, worker, out, launch, observers)


def run_worker(
    config: Stage3Config,
    policy: str,
    episodes: EpisodeSet,
    out: Path,
    start: Start,
    *,
    device: torch.device,
    observers: Observers,
) -> None:
    """One worker's part of a run; where it is the only one, the whole of it."""
    folder, normalization = policy_folder(policy), episodes.normalization()

    def build() -> Stage3:
        torch.manual_seed(config.seed)
        parts = reload_vla(config.sizes, folder) if folder else build_vla(config.sizes, start)
        stage = Stage3(config, *parts)
        if folder and read_config(folder).action:
            load_heads(stage.policy, folder)
        return stage.to(device)

    stage = build()
    check_instructions(stage.tokenizer, {e.folder.name: e.info.instruction for e in episodes.episodes})
    label_run = start.stage1 if config.head.kind == "latent" else None
    features = kept_features(config, episodes, stage.policy.vla, observers)
    loader = Stage3Loader(
        episodes,
        normalization,
        config.sizes,
        config.training.steps,
        batch_size=config.data.batch_size,
        seed=config.seed,
        codes=episode_codes(episodes, label_run, device) if label_run else None,
        features=features,
        threads=config.data.loader_threads,
        rank=rank(),
        world_size=world_size(),
        accumulate=config.training.accumulate,
    )
    run_steps(stage, loader, config.training, out, seed=config.seed, observe=observers.step, device=device)
    if rank() == 0:
        stage = cast(Stage3, whole_stage(stage, build, out)).eval()
        change = merged(stage, loader, device)
        write_policy(stage.policy, stage.tokenizer, out / POLICY, {episodes.collection.robot: normalization})
        write_tests(
            out, {"merge_change": change, "demonstrations_l1": demonstrations_l1(stage, loader, device)}
        )


def kept_features(
    config: Stage3Config, episodes: EpisodeSet, vla: PrismaticVLA, observers: Observers
) -> list[EpisodeFeatures] | None:
    """Features of all frames where the configuration keeps them; the first worker computes what is missing."""
    if not config.data.keep_features:
        return None
    precision = config.training.precision
    if rank() == 0:
        episode_features(episodes, vla, precision, observers.features)
    wait_for_all()
    return episode_features(episodes, vla, precision)


def merged(stage: Stage3, loader: Stage3Loader, device: torch.device) -> float:
    """Fold the low-rank updates into the weights; how far that moved predictions, relative to their size."""
    if stage.lora is None:
        return 0.0
    observations = stage.observations(to_device(loader.collate(loader.steps[:VERIFIED]), device))
    return merge_lora(stage.lora, lambda: stage.policy.predict(observations))


def demonstrations_l1(stage: Stage3, loader: Stage3Loader, device: torch.device) -> float:
    """Mean absolute error of what the policy predicts by itself at steps of the demonstrations, normalized actions."""
    number = min(stage.config.test_steps, len(loader.steps))
    chosen = np.unique(np.linspace(0, len(loader.steps) - 1, number).round().astype(int)).tolist()
    size = max(1, stage.config.data.batch_size // stage.config.training.accumulate)
    errors, actions = 0.0, 0
    for first in range(0, len(chosen), size):
        batch = to_device(loader.collate([loader.steps[i] for i in chosen[first : first + size]]), device)
        predicted = stage.policy.predict(stage.observations(batch)).float()
        errors += ((predicted - batch.actions).abs().mean(-1) * batch.is_action).sum().item()
        actions += int(batch.is_action.sum())
    return errors / actions
