"""The training loop, the same for every stage and for one worker or many: AdamW, warm-up and cosine, clipping,
accumulation, checkpoints, metrics.

The learning rate, the batch and the random numbers of a step are functions of the step, so the state of a run is its
weights, its AdamW moments and a step number; a killed run that continues gives the losses it would have given.
The numbers of a step come from the device once, after the backward pass.
"""

import logging
import math
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

from data_schemas.errors import UserError
from harp.data.prefetch import StepLoader
from harp.training.checkpoint import CHECKPOINTS, Checkpoints
from harp.training.config import OptimizationConfig
from harp.training.distributed import (
    gathered_objects,
    parallel,
    rank,
    summed,
    to_device,
    wait_for_all,
    world_size,
)
from harp.training.metrics import MetricsLog
from harp.training.sharding import shard, whole
from harp.training.stage import Counts, StepOutput, TrainingStage

logger = logging.getLogger(__name__)

Observer = Callable[[int, int, dict[str, float]], None]
"""Called after every step with (steps done, steps in all, metrics)."""


class TrainingDiverged(UserError):
    """The loss or a gradient is not finite; says at which step and on what data."""


def learning_rate_factor(step: int, config: OptimizationConfig) -> float:
    """Linear warm-up, then a cosine that ends at 0 after the last step."""
    warmup = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    return warmup * 0.5 * (1 + math.cos(math.pi * step / config.steps))


def run_steps(
    stage: TrainingStage,
    loader: StepLoader,
    config: OptimizationConfig,
    out: Path,
    *,
    seed: int,
    observe: Observer,
    device: torch.device,
) -> None:
    """Train from the newest checkpoint in `out` to the last step.

    On several workers all of them call this, with a loader of their part of every batch; the first one writes.

    Raises:
        TrainingDiverged: a loss or gradient is NaN or infinite. Nothing of that step is kept.
    """
    if world_size() == 1:  # what trains on many workers says who starts them
        on_gpu = device.type == "cuda"
        logger.info("Training on %s", torch.cuda.get_device_name(device) if on_gpu else "the CPU")
    hold_exactly(cast(nn.Module, stage), config.precision)
    model = on_workers(stage)
    optimizer = torch.optim.AdamW(stage.parameter_groups())
    checkpoints = Checkpoints(out / CHECKPOINTS)
    resumed = checkpoints.load(stage, optimizer)
    done = resumed["step"] if resumed else 0
    if resumed:
        loader.load_state_dict(resumed["loader"])
    base_rates = [group["lr"] for group in stage.parameter_groups()]
    wait_for_all()  # before the first one may write the next checkpoint
    stage.train()
    batches = iter(loader)
    clock = time.perf_counter()
    with closing(MetricsLog(out, done)) if rank() == 0 else nullcontext() as log:
        while micro_batches := list(islice(batches, config.accumulate)):
            step = micro_batches[0].step
            factor = learning_rate_factor(step, config)
            for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
                group["lr"] = rate * factor
            torch.manual_seed(int(np.random.SeedSequence([seed, step, rank()]).generate_state(1)[0]))
            optimizer.zero_grad()
            moved = [to_device(batch, device) for batch in micro_batches]
            outputs = forward_backward(stage, model, moved, config.precision)
            metrics = _numbers(outputs, clip_groups(optimizer, config.gradient_clip))
            _check_finite(metrics, step, [i for batch in micro_batches for i in batch.ids])
            optimizer.step()
            metrics |= stage.after_step(outputs, metrics, step, optimizer)
            now = time.perf_counter()
            metrics |= {"learning_rate_factor": factor, "seconds": now - clock}
            clock = now
            done = step + 1
            if log:
                log.write(step, metrics)
            if done % config.checkpoint_every == 0 or done == config.steps:
                checkpoints.save(done, stage, optimizer, loader.state_dict())
            if log:
                observe(done, config.steps, metrics)
    wait_for_all()


def hold_exactly(module: nn.Module, precision: str) -> None:
    """Put what is trained into float32, whatever type its model is kept in.

    What AdamW adds to a weight is often less than bfloat16 resolves, and is lost: of steps of 2e-5 on weights of 0.02
    a third arrives. Frozen weights stay as they are under autocast; without it, types have to agree.
    """
    for parameter in module.parameters():
        if parameter.requires_grad or precision == "fp32":
            parameter.data = parameter.data.float()


def on_workers(stage: TrainingStage) -> nn.Module:
    """What to call in the stage's place: itself, or what carries gradients between workers."""
    module, units = cast(nn.Module, stage), stage.units_to_shard()
    if world_size() == 1:
        return module
    if units is None:
        return parallel(module, stage.may_skip_parameters)
    return cast(nn.Module, shard(module, units))


@contextmanager
def synchronized(model: nn.Module, is_last: bool) -> Generator[None]:
    """Send gradients after the last micro-batch of a step alone; before, each worker sums up its own."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(is_last)
        yield
    else:
        with nullcontext() if is_last or not isinstance(model, DistributedDataParallel) else model.no_sync():
            yield


def forward_backward(
    stage: TrainingStage, model: nn.Module, micro_batches: Sequence[Any], precision: str
) -> list[StepOutput]:
    """Gradients of one batch, given as this worker's micro-batches, on top of those that are there."""
    device = next(model.parameters()).device
    totals = _totals([stage.count(batch) for batch in micro_batches], device)
    outputs = []
    for batch in micro_batches:
        is_last = batch is micro_batches[-1]
        with synchronized(model, is_last):
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                output: StepOutput = model(batch, totals)
            # The wrapper averages gradients over the workers; shares of a mean have to be summed.
            (output.loss * world_size()).backward()
        outputs.append(replace(output, loss=output.loss.detach()))
    return outputs


def _totals(counts: Sequence[Counts], device: torch.device) -> Counts:
    names = sorted(counts[0])
    total = summed(torch.tensor([sum(count[name] for count in counts) for name in names], device=device))
    return dict(zip(names, total.tolist(), strict=True))


def clip_groups(optimizer: torch.optim.Optimizer, largest: float) -> dict[str, torch.Tensor]:
    """Clip the gradients of each group on its own; their norms before, where the parameters lie."""
    norms = {}
    for group in optimizer.param_groups:
        norm = whole(nn.utils.clip_grad_norm_(group["params"], largest))
        norms[f"gradient_{group['name']}"] = norm.to(
            group["params"][0].device
        )  # without gradients a CPU's zero
    return norms


def _numbers(outputs: Sequence[StepOutput], norms: dict[str, torch.Tensor]) -> dict[str, float]:
    """Metrics of the whole batch as numbers, in one transfer."""
    names = sorted(set().union(*(output.metrics for output in outputs)))
    shares = [sum(output.metrics[name] for output in outputs if name in output.metrics) for name in names]
    values = summed(torch.stack([torch.as_tensor(share, dtype=torch.float32) for share in shares]))
    numbers = torch.cat((values, torch.stack(list(norms.values())).to(values))).tolist()
    return dict(zip([*names, *norms], numbers, strict=True))


def _check_finite(metrics: dict[str, float], step: int, ids: Sequence[str]) -> None:
    wrong = [name for name, value in metrics.items() if not math.isfinite(value)]
    if wrong:
        everyone = dict.fromkeys(gathered_objects(ids))
        raise TrainingDiverged(
            f"Not finite at step {step}: {', '.join(wrong)}; the batch holds {', '.join(everyone)}. Look at these, or "
            "train with a lower learning rate."
        )
