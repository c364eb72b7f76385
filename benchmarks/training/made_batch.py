"""A stage-1 module and a batch of a recipe's sizes, of random pixels: what a step costs does not depend on them."""

import torch

from harp.data.batch import CueTargets, Stage1Batch
from harp.latent_action.language import FrozenTextEncoder
from harp.training.config import Stage1Config
from harp.training.stage1_module import Stage1
from harp.vision.encoder import HarpVisionEncoder

FRAME = 224
VERBS = ("push", "lift", "press", "flip", "slide", "pour")


def make_stage(config: Stage1Config) -> Stage1:
    """The module with a random ViT and the recipe's text encoder."""
    torch.manual_seed(config.seed)
    text = FrozenTextEncoder(config.text.model, config.text.max_tokens)
    return Stage1(config, HarpVisionEncoder(config.vision), text).train()


def make_batch(config: Stage1Config) -> Stage1Batch:
    """Half of the single demonstrations are human. Human frames come as kept tokens, as in a run with the cache."""
    B, C = config.data.pairs_per_batch, config.data.context_frames
    human, robot = B + config.data.singles_per_batch // 2, B + (config.data.singles_per_batch + 1) // 2
    P, D = config.vision.num_patches, config.vision.dim
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    def instructions(number: int) -> tuple[str, ...]:
        return tuple(f"{VERBS[i % len(VERBS)]} the plate to the left" for i in range(number))

    def cues(number: int) -> CueTargets:
        K = config.latent_action.num_keypoints if config.latent_action else 0
        points, effector = normal(number, 2, K, 2).sigmoid(), normal(number, 2, 2).sigmoid()
        seen = torch.ones(number, 2, K, dtype=torch.bool)
        return CueTargets(points, seen, effector, torch.ones(number, 2, dtype=torch.bool))

    def pixels(number: int) -> torch.Tensor:
        return torch.randint(0, 256, (number, FRAME, FRAME, 3), generator=generator, dtype=torch.uint8)

    return Stage1Batch(
        step=0,
        micro=0,
        num_pairs=B,
        robot_ids=tuple(f"robot{i}" for i in range(robot)),
        human_ids=tuple(f"human{i}" for i in range(human)),
        robot_instructions=instructions(robot),
        human_instructions=instructions(human),
        robot_frames=pixels(2 * robot + B * C),
        human_frames=pixels(2 * human),
        human_tokens=normal(human, 2, P, D).bfloat16(),
        human_context_frames=pixels(B * C),
        human_context_tokens=normal(B, C, P, D).bfloat16(),
        robot_frozen_pooled=normal(B, 2 + C, D),
        human_pooled=normal(B, 2 + C, D),
        robot_cues=cues(robot),
        human_cues=cues(human),
    )
