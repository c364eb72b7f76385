"""Batches of stage 1."""

from collections.abc import Sequence
from typing import Literal

import torch

from harp.data.batch import Stage1Batch, collate_cues, collate_frames
from harp.data.frozen_features import FrozenFeatures
from harp.data.prefetch import StepLoader
from harp.data.sampling import ClipDraw, TransitionSampler
from harp.data.shards import ShardReader

HumanTokens = Literal["none", "transitions", "all"]
"""Human frames whose patch tokens training reads: none (pooled features are enough), those of transitions (the
latent action model), or the context frames of pairs, too (pooling by attention)."""


class Stage1Loader(StepLoader[Stage1Batch]):
    """Iterates from its position to `num_steps`; pairs and singles of a step are split alike.

    Args:
        num_keypoints: that the model predicts; 0 for a training without cues.
        human_tokens: what training reads of the human side.
        rank: of this process.
        world_size: number of ranks.
        accumulate: micro-batches per step.

    Raises:
        UserError: the global batch cannot be split evenly.
    """

    def __init__(
        self,
        sampler: TransitionSampler,
        reader: ShardReader,
        features: FrozenFeatures,
        num_keypoints: int,
        num_steps: int,
        *,
        human_tokens: HumanTokens = "transitions",
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
    ) -> None:
        super().__init__(
            num_steps,
            sampler.sizes,
            threads=sampler.config.loader_threads,
            rank=rank,
            world_size=world_size,
            accumulate=accumulate,
        )
        self._sampler = sampler
        self._reader = reader
        self._features = features
        self._num_keypoints = num_keypoints
        self._human_tokens = human_tokens

    def load(self, step: int, micro: int = 0) -> Stage1Batch:
        """This rank's share of a step, or one micro-batch of it."""
        draw = self._sampler.draw(step)
        part = self.share(micro)
        pairs, singles = draw.pairs[part], draw.singles[part]
        robots = [*pairs, *(d for d in singles if d.kind == "robot")]
        humans = [*pairs, *(d for d in singles if d.kind == "human")]
        transition, context = slice(0, 2), slice(2, None)
        robot_frames = (
            collate_frames(robots, "robot", self._reader, transition),
            collate_frames(pairs, "robot", self._reader, context),
        )
        seen = humans if self._human_tokens != "none" else []
        context_pairs = pairs if self._human_tokens == "all" else ()
        human_frames, human_tokens = self._human(seen, transition)
        human_context_frames, human_context_tokens = self._human(context_pairs, context)
        return Stage1Batch(
            step=step,
            micro=micro,
            num_pairs=len(pairs),
            robot_ids=tuple(d.subject.subject_id for d in robots),
            human_ids=tuple(d.subject.subject_id for d in humans),
            robot_instructions=tuple(d.subject.instruction for d in robots),
            human_instructions=tuple(d.subject.instruction for d in humans),
            robot_frames=torch.cat(robot_frames),
            human_frames=human_frames,
            human_tokens=human_tokens,
            human_context_frames=human_context_frames,
            human_context_tokens=human_context_tokens,
            robot_frozen_pooled=_stack([self._features.pooled(d, "robot") for d in pairs]),
            human_pooled=_stack([self._features.pooled(d, "human") for d in pairs]),
            robot_cues=collate_cues(robots, "robot", self._reader, self._num_keypoints),
            human_cues=collate_cues(humans, "human", self._reader, self._num_keypoints),
        )

    def _human(
        self, draws: Sequence[ClipDraw], part: slice
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """(frames, tokens) of the human side: tokens where they are kept, else the frames to compute them from."""
        if self._features.has_tokens:
            return None, _stack([self._features.human_tokens(d, part) for d in draws])
        return collate_frames(draws, "human", self._reader, part), None


def _stack(tensors: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack(tensors) if tensors else torch.empty(0)
