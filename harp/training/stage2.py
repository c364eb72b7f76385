"""Stage 2: pretrain a policy on latent actions of human and robot videos (paper §3.3).

Calling again continues a killed run, and does nothing for a finished one.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch

from data_schemas.storage import everywhere
from harp.data.policy_labels import LabelledVersions, Transition, TransitionDraws, clips_of, majority_codes
from harp.data.policy_loader import Stage2Loader, collate
from harp.data.shards import ShardReader
from harp.policy.checkpoints import write_policy
from harp.training.distributed import rank, to_device, wait_for_all, world_size
from harp.training.loop import run_steps
from harp.training.policy_run import (
    POLICY,
    PolicyResult,
    Start,
    build_vla,
    check_instructions,
    run_policy_stage,
    whole_stage,
    write_tests,
)
from harp.training.progress import Observers
from harp.training.stage1 import Launch
from harp.training.stage2_config import Stage2Config, begun_labels, label_sets, resolve_stage2
from harp.training.stage2_features import ClipFeatures
from harp.training.stage2_module import Stage2


def train_stage2(
    config: Stage2Config,
    lake: Path,
    out: Path,
    *,
    labels: tuple[str, ...] = (),
    version_id: str | None = None,
    start: Start | None = None,
    features_folder: Path | None = None,
    launch: Launch | None = None,
    observers: Observers | None = None,
) -> PolicyResult:
    """Train on labelled versions of a lake, into the folder `out`.

    Args:
        labels: keys of labellings, mixed with equal weights; the recipe's sources, else the newest of the stage-1
            run, by default. A run that has begun keeps the newest of its beginning.
        version_id: whose newest labelling is meant where no labels are named.
        start: the stage-1 run, which gives the encoder, and the checkpoint to start from.
        features_folder: where kept features lie, for all runs; `clip_features` beside `out` by default.
        launch: starts many workers, each with its part of every batch; by default this process is the only one.
        observers: told of the progress; a line in the log by default.

    Returns:
        The result; `out` then holds the policy's folder, `config.json`, `metrics.jsonl`, `result.json`, TensorBoard
        events and the last checkpoint. `tests` are held-out accuracies, beside the most frequent codes'.

    Raises:
        UserError: no such labels, labels of another stage-1 model, another run in `out`, weights that do not fit,
            instructions that the policy cannot be told, a batch that cannot be split.
        TrainingDiverged: a loss or gradient is not finite.
    """
    lake, out = everywhere(lake), everywhere(out)
    features_folder = everywhere(features_folder or out.parent / "clip_features")
    start = replace((start or Start()).everywhere(), adapters=config.adapters == "stage1")
    chosen = label_sets(lake, labels, version_id, config, start, begun_labels(out))
    resolved = resolve_stage2(config, chosen, start)
    worker = partial(run_worker, resolved, lake, out, start, features_folder)
    return run_policy_stage(resolved, resolved.training, worker, out, launch, observers)


def run_worker(
    config: Stage2Config,
    lake: Path,
    out: Path,
    start: Start,
    features_folder: Path,
    *,
    device: torch.device,
    observers: Observers,
) -> None:
    """One worker's part of a run; where it is the only one, the whole of it."""

    def build() -> Stage2:
        torch.manual_seed(config.seed)
        return Stage2(config, *build_vla(config.policy, start)).to(device)

    labelled = LabelledVersions.open(lake, config.data)
    pools, held_out_pools = labelled.transitions("train"), labelled.transitions("held_out")
    stage = build()
    clips = clips_of([*pools, *held_out_pools])
    check_instructions(stage.tokenizer, {c.subject.subject_id: c.subject.instruction for c in clips})
    reader = ShardReader(labelled.version, config.data.verify)
    features = None
    if config.data.keep_features:
        features = ClipFeatures(features_folder, stage.vla, config.training.precision, labelled.version)
        if rank() == 0:
            features.make(clips_of(pools), reader, observers.features)
        wait_for_all()
    loader = Stage2Loader(
        TransitionDraws(pools, config.data.batch_size, config.seed),
        reader,
        config.training.steps,
        features=features.of if features else None,
        threads=config.data.loader_threads,
        rank=rank(),
        world_size=world_size(),
        accumulate=config.training.accumulate,
    )
    run_steps(stage, loader, config.training, out, seed=config.seed, observe=observers.step, device=device)
    if rank() == 0:
        stage = cast(Stage2, whole_stage(stage, build, out)).eval()
        write_policy(stage.vla, stage.tokenizer, out / POLICY)
        majority = majority_codes(clips_of(pools), config.policy.num_codes)
        held_out = [t for pool in held_out_pools for t in pool.members]
        chosen = np.linspace(0, len(held_out) - 1, min(config.test_transitions, len(held_out)))
        tested = [held_out[i] for i in np.unique(chosen.round().astype(int))] if held_out else []
        write_tests(out, held_out_accuracy(stage, tested, reader, majority, device))


def held_out_accuracy(
    stage: Stage2,
    transitions: list[Transition],
    reader: ShardReader,
    majority: np.ndarray,
    device: torch.device,
) -> dict[str, float]:
    """Share of right codes that the policy generates by itself, in all, by embodiment, and of whole latent actions.

    Args:
        majority: (Q,) codes that are right most often in training: the accuracy of a policy that sees nothing.
    """
    if not transitions:
        return {}
    right, size = [], max(1, stage.config.data.batch_size // stage.config.training.accumulate)
    for first in range(0, len(transitions), size):
        batch = to_device(collate(transitions[first : first + size], reader), device)
        right.append((stage.generate(batch) == batch.codes).cpu().numpy())
    correct = np.concatenate(right)
    labels = np.stack([t.codes for t in transitions])
    result = {
        "held_out_transitions": float(len(transitions)),
        "held_out_accuracy": float(correct.mean()),
        "held_out_exact": float(correct.all(1).mean()),
        "majority_accuracy": float((labels == majority).mean()),
    }
    for side in ("human", "robot"):
        rows = [t.clip.side == side for t in transitions]
        if any(rows):
            result[f"held_out_{side}_accuracy"] = float(correct[rows].mean())
    return result
