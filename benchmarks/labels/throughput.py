"""How fast transitions are labelled: whole clips in batches against one transition at a time.

    python -m benchmarks.labels.throughput --recipe laptop --frames 100 --out labels.json

Measured for one horizon, the middle of the recipe's range, and for three, its ends besides. The straightforward way is
that of training code that labels on the fly: for every transition both frames through the vision encoder and the pair
through the latent action model, by the same networks. Both ways see the same clip, take turns in one process, and must
give the same codes, in bf16 but for latents between two of them. Weights of the latent action model are random: they do not change
the time. Reading shards is not part of it; one transition at a time would read every frame twice, too.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from data_schemas.samples import FRAME_SIZE
from harp.latent_action.labels import Labeller, transitions
from harp.latent_action.language import FrozenTextEncoder
from harp.latent_action.model import LatentActionModel
from harp.recipes import load_stage1_recipe
from harp.training.distributed import default_device
from harp.vision.encoder import load_vision_encoder

FPS = 10.0
INSTRUCTION = "pick up the cup and place it on the plate"


def main() -> None:
    """Measure and print; write JSON where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="laptop")
    parser.add_argument("--frames", type=int, default=100, help="of the clip")
    parser.add_argument("--batch", type=int, default=64, help="frames and transitions at a time")
    parser.add_argument("--rounds", type=int, default=3, help="the median counts")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of both ways")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()

    torch.manual_seed(0)
    config, device = load_stage1_recipe(arguments.recipe), default_device()
    assert config.latent_action is not None
    encoder = load_vision_encoder(config.vision)
    text = FrozenTextEncoder(config.text.model, config.text.max_tokens, device)
    model = LatentActionModel(encoder.dim, text.dim, config.latent_action)
    for module in (encoder, model):
        module.to(device).eval().requires_grad_(False)
    frames = made_clip(arguments.frames)
    shortest, longest = config.data.horizon_seconds
    middle = (shortest + longest) / 2
    result = {
        "recipe": arguments.recipe,
        "precision": arguments.precision,
        "device": str(device) if device.type == "cuda" else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "frames": len(frames),
    }
    for horizons in ((middle,), (shortest, middle, longest)):
        _, pairs = transitions(len(frames), FPS, horizons)

        def label(batch: int, pairs: np.ndarray = pairs) -> np.ndarray:
            """Codes of the clip: transition by transition, or so many frames and transitions at a time."""
            labeller = Labeller(encoder, model, text, precision=arguments.precision, batch_size=batch)
            parts = np.split(pairs, len(pairs)) if batch == 1 else [pairs]
            return np.concatenate([labeller.codes(frames, "robot", INSTRUCTION, part) for part in parts])

        result[f"horizons of {', '.join(map(str, horizons))} s"] = compare(
            partial(label, 1), partial(label, arguments.batch), len(pairs), arguments.rounds, device
        )
    print(json.dumps(result, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


def compare(
    one_at_a_time: Callable[[], np.ndarray],
    whole_clip: Callable[[], np.ndarray],
    number: int,
    rounds: int,
    device: torch.device,
) -> dict[str, float]:
    """Transitions per second of both ways by their median times, and whether they agree."""
    seconds: dict[str, list[float]] = {"one": [], "whole": []}
    agree = 1.0
    for _ in range(rounds):
        codes = timed(one_at_a_time, seconds["one"], device)
        agree = min(agree, float((codes == timed(whole_clip, seconds["whole"], device)).mean()))
    one, whole = (number / float(np.median(seconds[name])) for name in ("one", "whole"))
    return {
        "transitions": number,
        "one_at_a_time_per_second": one,
        "whole_clip_per_second": whole,
        "ratio": whole / one,
        "equal_codes": agree,
    }


def made_clip(number: int) -> np.ndarray:
    """A bright square that moves over noise, (number, 224, 224, 3) uint8."""
    frames = np.random.default_rng(0).integers(0, 80, (number, FRAME_SIZE, FRAME_SIZE, 3), dtype=np.uint8)
    for t, frame in enumerate(frames):
        left = round(160 * t / max(1, number - 1))
        frame[80:140, left : left + 60] = 230
    return frames


def timed(label: Callable[[], np.ndarray], seconds: list[float], device: torch.device) -> np.ndarray:
    """Codes, and how long they took."""
    start = time.perf_counter()
    codes = label()
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds.append(time.perf_counter() - start)
    return codes


if __name__ == "__main__":
    main()
