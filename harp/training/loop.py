"""The training loop, the same for every stage: AdamW, warm-up and cosine, clipping, checkpoints, metrics.

The learning rate is a function of the step and the batch is a function of the step, so the state of a run is its
weights, its AdamW moments and a step number; a killed run that continues gives the losses it would have given.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch

from harp.data.loader import Stage1Loader
from harp.training.checkpoint import Checkpoints
from harp.training.config import TrainingConfig
from harp.training.metrics import MetricsLog
from harp.training.stage import TrainingStage

Observer = Callable[[int, int, dict[str, float]], None]
"""Called after every step with (steps done, steps in all, metrics)."""


class TrainingDiverged(Exception):
    """The loss or a gradient is not finite; says at which step and on what data."""


def learning_rate_factor(step: int, config: TrainingConfig) -> float:
    """Linear warm-up, then a cosine that ends at 0 after the last step."""
    warmup = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    return warmup * 0.5 * (1 + math.cos(math.pi * step / config.steps))


def run_steps(
    stage: TrainingStage,
    loader: Stage1Loader,
    config: TrainingConfig,
    out: Path,
    *,
    observe: Observer,
    device_type: str = "cpu",
) -> None:
    """Train from the newest checkpoint in `out` to the last step.

    Raises:
        TrainingDiverged: a loss or gradient is NaN or infinite. Nothing of that step is kept.
    """
    optimizer = torch.optim.AdamW(stage.parameter_groups())
    checkpoints = Checkpoints(out / "checkpoints")
    resumed = checkpoints.load(stage, optimizer)
    done = resumed["step"] if resumed else 0
    if resumed:
        loader.load_state_dict(resumed["loader"])
    base_rates = [group["lr"] for group in stage.parameter_groups()]
    log = MetricsLog(out, done)
    stage.train()
    clock = time.perf_counter()
    for batch in loader:
        factor = learning_rate_factor(batch.step, config)
        for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
            group["lr"] = rate * factor
        with torch.autocast(device_type, torch.bfloat16, enabled=config.precision == "bf16"):
            output = stage(batch, stage.count(batch))
        optimizer.zero_grad()
        output.loss.backward()
        norms = {
            f"gradient_{group['name']}": torch.nn.utils.clip_grad_norm_(
                group["params"], config.gradient_clip
            ).item()
            for group in optimizer.param_groups
        }
        metrics = {"loss": output.loss.item(), **norms}
        metrics |= {name: value.item() for name, value in output.metrics.items()}
        if not all(math.isfinite(value) for value in (metrics["loss"], *norms.values())):
            wrong = ", ".join(name for name, value in metrics.items() if not math.isfinite(value))
            raise TrainingDiverged(
                f"Not finite at step {batch.step}: {wrong}; the batch holds {', '.join(batch.ids)}."
            )
        optimizer.step()
        metrics |= stage.after_step([output], metrics, batch.step)
        now = time.perf_counter()
        metrics |= {"learning_rate_factor": factor, "seconds": now - clock}
        clock = now
        log.write(batch.step, metrics)
        done = batch.step + 1
        if done % config.checkpoint_every == 0 or done == config.steps:
            checkpoints.save(done, stage, optimizer, loader.state_dict())
        observe(done, config.steps, metrics)
    log.close()
