"""Latency of one action chunk: one parallel pass against autoregressive decoding of the same model, and each part.

    python -m benchmarks.policy.latency [--models tiny smollm2-135m] [--dtype bfloat16] [--repeats 5] [--out FILE.json]

Both ways share the model, the observation and the number of tokens (K·A = 70 for 10 actions of 7 dimensions). The
autoregressive one is OpenVLA's: one token per action dimension, greedy, with a key-value cache. Random weights: time
does not depend on them. Medians over the repeats; the two ways alternate, so that a busy machine slows both.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import DynamicCache

from harp.policy.action_policy import Observations, ParallelPolicy, build_action_policy
from harp.policy.config import POLICIES, ActionConfig, PolicyConfig
from harp.policy.mask import bidirectional_mask
from harp.policy.prismatic import empty_prismatic, gather
from harp.policy.tokenizer import load_tokenizer

ACTION_BINS = 256
TARGET = 5.0


@dataclass(frozen=True)
class Latency:
    """Seconds; medians."""

    model: str
    parallel: float
    autoregressive: float
    vision: float
    projector: float
    language_model: float
    head: float

    @property
    def speedup(self) -> float:
        """Of the whole chunk, image to actions."""
        return self.autoregressive / self.parallel

    @property
    def decoding_speedup(self) -> float:
        """Without the image features, which both ways need alike and which dominate where the language model is tiny."""
        shared = self.vision + self.projector
        return (self.autoregressive - shared) / (self.language_model + self.head)


def random_policy(name: str, dtype: str = "float32") -> tuple[ParallelPolicy, Observations]:
    """A policy of a named size without its weights, with two cameras and a state, and one observation."""
    config = POLICIES[name]
    backbones = tuple(b.model_copy(update={"weights": None}) for b in config.vision.backbones)
    changes = {
        "vision": config.vision.model_copy(update={"backbones": backbones}),
        "language_model": config.language_model.model_copy(update={"weights": None}),
        "cameras": 2,
        "action": ActionConfig(dim=7, chunk=10, proprioception_dim=7),
        "dtype": dtype,
    }
    config = PolicyConfig.model_validate(config.model_copy(update=changes).model_dump())
    vla = empty_prismatic(config)
    for parameter in vla.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.02)
        else:  # scales of norms: small ones would leave of attention less than bfloat16 resolves
            torch.nn.init.ones_(parameter)
    policy = build_action_policy(vla).eval()
    assert isinstance(policy, ParallelPolicy)
    size = config.vision.image_size
    prompts = load_tokenizer(config).prompts(["push the plate to the left"])
    images = torch.randn(1, 2, 3 * len(backbones), size, size).to(vla.projector.fc1.weight)
    return policy, Observations(images, prompts, torch.randn(1, 7).to(images))


@torch.no_grad()
def autoregressive(policy: ParallelPolicy, seen: Observations) -> Tensor:
    """One token per action dimension, each fed back, among the last `ACTION_BINS` of the vocabulary."""
    vla, cache = policy.vla, DynamicCache(config=policy.vla.backbone.config)
    embeddings = vla.embed(policy.visual(seen), seen.prompts).embeddings
    tokens = []
    for _ in range(policy.num_slots):
        output = vla.backbone(inputs_embeds=embeddings, past_key_values=cache, use_cache=True)
        logits = vla.language_model.lm_head(output.last_hidden_state[:, -1:])
        tokens.append(logits.shape[-1] - ACTION_BINS + logits[..., -ACTION_BINS:].argmax(-1))
        embeddings = vla.backbone.embed_tokens(tokens[-1])
    return torch.cat(tokens, dim=1)


@torch.no_grad()
def measure(name: str, dtype: str, repeats: int) -> Latency:
    """Medians over `repeats` rounds after one that warms up."""
    policy, seen = random_policy(name, dtype)
    vla, images = policy.vla, seen.images
    assert images is not None
    is_robot = torch.ones(2, dtype=torch.bool)
    patches = vla.vision.patch_tokens(images[0], is_robot)
    text, is_slot = policy.with_slots(seen.prompts)
    sequence = vla.embed(policy.visual(seen), text, zeroed_BL=is_slot)
    mask = bidirectional_mask(sequence.is_token, sequence.embeddings.dtype)
    hidden = gather(vla.hidden(sequence, mask), torch.arange(policy.num_slots)[None])
    ways: dict[str, Callable[[], object]] = {
        "parallel": lambda: policy.predict(seen),
        "autoregressive": lambda: autoregressive(policy, seen),
        "vision": lambda: vla.vision.patch_tokens(images[0], is_robot),
        "projector": lambda: vla.projector(patches),
        "language_model": lambda: vla.hidden(sequence, mask),
        "head": lambda: policy.action_head(hidden),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repeats + 1):
        for way, run in ways.items():
            start = time.perf_counter()
            run()
            seconds[way].append(time.perf_counter() - start)
    return Latency(name, **{way: statistics.median(times[1:]) for way, times in seconds.items()})


def main() -> None:
    """Measure, print, and write a JSON file if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["tiny", "smollm2-135m"], choices=list(POLICIES))
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the weights")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    rows = [measure(name, arguments.dtype, arguments.repeats) for name in arguments.models]
    setting = f"{arguments.dtype}, {torch.get_num_threads()} threads"
    table = Table(title=f"One chunk of 10 × 7 actions, milliseconds, {setting}")
    columns = ("parallel", "autoregressive", "vision", "projector", "language_model", "head")
    for column in ("model", *columns, f"speed-up (target ≥ {TARGET:.0f}×)", "of decoding"):
        table.add_column(column.replace("_", " "), justify="left" if column == "model" else "right")
    for row in rows:
        values = asdict(row)
        table.add_row(
            row.model,
            *(f"{1e3 * values[c]:.1f}" for c in columns),
            f"{row.speedup:.1f}×",
            f"{row.decoding_speedup:.1f}×",
        )
    Console(width=140).print(table)
    if arguments.out:
        content = [
            asdict(row) | {"speedup": row.speedup, "decoding_speedup": row.decoding_speedup} for row in rows
        ]
        arguments.out.write_text(json.dumps(content, indent=2))


if __name__ == "__main__":
    main()
