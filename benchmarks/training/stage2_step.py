"""What a stage-2 step costs: with kept features, with pictures, and with the attention of `transformers`.

    python -m benchmarks.training.stage2_step [--recipe tiny] [--steps 8] [--set key.path=value] [--out step.json]

Steps of all kinds are taken in turn in one process, forward, backward and optimizer, on random pictures with sentences of 45 to 60
letters, which are padded to one length as in training; ratios are of the medians. Reading from disk has no part in it.
"""

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from harp.data.policy_loader import Stage2Batch
from harp.policy import language_attention
from harp.recipes import load_stage1_recipe, load_stage2_recipe
from harp.training.policy_run import Start, build_vla
from harp.training.stage2_config import Stage2Config
from harp.training.stage2_module import Stage2

INSTRUCTION = "pick up the small red cube and put it into the green bowl ok"
SIDE = 224
"""Of the pictures, pixels."""

KINDS = {
    "kept features": (True, language_attention.NAME),
    "pictures": (False, language_attention.NAME),
    "pictures, SDPA of transformers": (False, "sdpa"),
}
"""Whether features are kept, and the attention."""


def make_batch(stage: Stage2) -> tuple[Stage2Batch, Stage2Batch]:
    """Half humans, half robots: with pictures, and with their features."""
    number, policy = stage.config.data.batch_size, stage.vla.policy_config
    generator = torch.Generator().manual_seed(0)
    pictures = Stage2Batch(
        step=0,
        micro=0,
        subject_ids=("made",) * number,
        frames=torch.randint(0, 256, (number, SIDE, SIDE, 3), dtype=torch.uint8, generator=generator),
        features=None,
        is_robot=torch.arange(number) % 2 == 0,
        instructions=tuple(INSTRUCTION[: 60 - i % 16] for i in range(number)),
        codes=torch.randint(0, policy.num_codes, (number, policy.codes_per_action), generator=generator),
    )
    assert pictures.frames is not None
    with torch.no_grad():
        images = stage.vla.vision.preprocess(pictures.frames)
        features = stage.vla.vision.patch_tokens(images, pictures.is_robot).half()
    return pictures, replace(pictures, frames=None, features=features)


def compare(config: Stage2Config, steps: int) -> dict[str, float]:
    """Median seconds of each kind, steps taken in turn after one of each to warm up."""
    stage = Stage2(config, *build_vla(config.policy, Start()))
    pictures, kept = make_batch(stage)
    optimizer = torch.optim.AdamW(stage.parameter_groups())
    times: dict[str, list[float]] = {name: [] for name in KINDS}
    for step in range(steps + 1):
        for name, (with_features, attention) in KINDS.items():
            stage.vla.language_model.set_attn_implementation(attention)
            batch = kept if with_features else pictures
            started = time.perf_counter()
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=config.training.precision == "bf16"):
                output = stage(batch, stage.count(batch))
            output.loss.backward()
            optimizer.step()
            if step:
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--vision", default="laptop", help="stage-1 recipe whose vision encoder is meant")
    parser.add_argument("--steps", type=int, default=8, help="of each kind")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, help="JSON of all numbers")
    arguments = parser.parse_args()
    config = load_stage2_recipe(arguments.recipe, arguments.set)
    vision = load_stage1_recipe(arguments.vision).vision
    config = config.model_copy(update={"policy": config.policy.model_copy(update={"vision": vision})})
    seconds = compare(config, arguments.steps)
    slowest = max(seconds.values())
    table = Table(
        title=f"A stage-2 step, recipe {arguments.recipe}, {config.training.precision}, {torch.get_num_threads()} threads"
    )
    for column in ("", "seconds", "times as fast"):
        table.add_column(column, justify="right")
    for name, value in seconds.items():
        table.add_row(name, f"{value:.3f}", f"{slowest / value:.2f}")
    Console(width=100).print(table)
    if arguments.out:
        arguments.out.write_text(json.dumps(seconds, indent=2) + "\n")


if __name__ == "__main__":
    main()
