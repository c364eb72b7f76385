"""Does a pretrained policy know where the thing is that it will be asked to touch?

    python -m benchmarks.policy.where DEMOS RUN/policy [RUN/policy …] [--train 80] [--out where.json]

Of each demonstration the first picture is shown to the policy, with its instruction; ridge regression reads from what it makes of them
where the hand will be at the end of the episode (x and y on the table, metres). Reported is the mean error on demonstrations that the
regression has not seen, with the best of several penalties, for the patch features themselves and for hidden states of
every policy: at the last token of the prompt, and at the codes that it generates. One task's demonstrations, all of one kind, are
meant: `press`, whose hand ends on the button.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from harp.data.policy_episodes import EpisodeSet
from harp.policy.checkpoints import load_policy
from harp.policy.latent_tokens import generate_codes
from harp.policy.prismatic import gather

PENALTIES = (0.1, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5)
AT_ONCE = 20


@torch.no_grad()
def hidden_states(policy: Path, pictures: np.ndarray, instructions: list[str]) -> dict[str, np.ndarray]:
    """(N, F) features by what they are: of the encoder, and of the language model after it."""
    loaded = load_policy(policy)
    vla, found = loaded.vla.eval(), {"patches": [], "prompt": [], "codes": []}
    for first in range(0, len(pictures), AT_ONCE):
        some = slice(first, first + AT_ONCE)
        images = vla.vision.preprocess(torch.from_numpy(pictures[some]))
        patches = vla.vision.adapted(images)
        prompts = loaded.tokenizer.prompts(instructions[some])
        visual = vla.project(patches[:, None])
        sequence = vla.embed(visual, prompts)
        last = sequence.num_visual + prompts.lengths[:, None] - 1
        found["patches"].append(patches.flatten(1))
        found["prompt"].append(gather(vla.hidden(sequence), last).flatten(1))
        found["codes"].append(generate_codes(vla, visual, prompts).hidden.flatten(1))
    return {name: torch.cat(parts).numpy() for name, parts in found.items()}


def error(features_NF: np.ndarray, places_N2: np.ndarray, train: int) -> float:
    """Mean distance, of those after the first `train`, to what ridge regression on these says."""
    mean, spread = features_NF[:train].mean(0), features_NF[:train].std(0) + 1e-6
    X, centre = (features_NF - mean) / spread, places_N2[:train].mean(0)
    kernel, errors = X[:train] @ X[:train].T, []
    for penalty in PENALTIES:
        weights = np.linalg.solve(kernel + penalty * np.eye(train), places_N2[:train] - centre)
        predicted = X[train:] @ (X[:train].T @ weights) + centre
        errors.append(np.linalg.norm(predicted - places_N2[train:], axis=1).mean())
    return float(min(errors))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("demonstrations", type=Path)
    parser.add_argument("policies", type=Path, nargs="+", help="policies of stage 2: RUN/policy")
    parser.add_argument("--train", type=int, default=80, help="demonstrations that the regression sees")
    parser.add_argument("--frames", type=Path, default=Path("episode_frames"), help="for decoded videos")
    parser.add_argument("--out", type=Path, help="JSON of all numbers")
    arguments = parser.parse_args()
    episodes = EpisodeSet.open(arguments.demonstrations, arguments.frames)
    episodes.decode(1)
    pictures = np.stack([episodes.frames(episode, "third_view")[0] for episode in episodes.episodes])
    places = np.stack([episode.proprioception[-1][:2] for episode in episodes.episodes])
    instructions = [episode.info.instruction for episode in episodes.episodes]
    known, rest = places[: arguments.train], places[arguments.train :]
    results = {"no picture": float(np.linalg.norm(rest - known.mean(0), axis=1).mean())}
    for policy in arguments.policies:
        for name, features in hidden_states(policy, pictures, instructions).items():
            results[f"{policy}: {name}"] = error(features, places, arguments.train)
    table = Table(title=f"{arguments.train} demonstrations fitted, {len(rest)} tested")
    table.add_column("read from")
    table.add_column("error, cm", justify="right")
    for name, value in results.items():
        table.add_row(name, f"{100 * value:.1f}")
    Console(width=120).print(table)
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
