"""Batches of stage 1, prepared one step ahead by a thread.

JPEG decoding releases the interpreter lock, so one thread hides it behind the step that runs. What a batch holds
depends on its step alone; the position to resume from is a step number.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import torch

from harp.data.batch import Stage1Batch, collate_cues, collate_frames
from harp.data.frozen_features import FrozenFeatures
from harp.data.sampling import TransitionSampler
from harp.data.shards import ShardReader

HumanTokens = Literal["none", "transitions", "all"]
"""Human frames whose patch tokens training reads: none (pooled features are enough), those of transitions (the
latent action model), or the context frames of pairs, too (pooling by attention)."""


class Stage1Loader:
    """Iterates from its position to `num_steps`."""

    def __init__(
        self,
        sampler: TransitionSampler,
        reader: ShardReader,
        features: FrozenFeatures,
        num_keypoints: int,
        num_steps: int,
        *,
        human_tokens: HumanTokens = "transitions",
    ) -> None:
        self._sampler = sampler
        self._reader = reader
        self._features = features
        self._num_keypoints = num_keypoints
        self._num_steps = num_steps
        self._human_tokens = human_tokens
        self._step = 0

    def state_dict(self) -> dict[str, int]:
        """Position: the step whose batch comes next."""
        return {"step": self._step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue at a saved position."""
        self._step = state["step"]

    def __iter__(self) -> Iterator[Stage1Batch]:
        with ThreadPoolExecutor(1, "batches") as pool:
            ahead = pool.submit(self.load, self._step)
            while self._step < self._num_steps:
                batch = ahead.result()
                self._step += 1
                if self._step < self._num_steps:
                    ahead = pool.submit(self.load, self._step)
                yield batch

    def load(self, step: int) -> Stage1Batch:
        """The batch of a step."""
        draw = self._sampler.draw(step)
        robots = [*draw.pairs, *(d for d in draw.singles if d.subject.kind == "robot")]
        humans = [*draw.pairs, *(d for d in draw.singles if d.subject.kind == "human")]
        transition, context = slice(0, 2), slice(2, None)
        robot_frames = (
            collate_frames(robots, "robot", self._reader, transition),
            collate_frames(draw.pairs, "robot", self._reader, context),
        )
        keep = self._features.has_tokens
        seen = humans if self._human_tokens != "none" else []
        context_pairs = draw.pairs if self._human_tokens == "all" else ()
        return Stage1Batch(
            step=step,
            num_pairs=len(draw.pairs),
            robot_ids=tuple(d.subject.subject_id for d in robots),
            human_ids=tuple(d.subject.subject_id for d in humans),
            robot_instructions=tuple(d.subject.instruction for d in robots),
            human_instructions=tuple(d.subject.instruction for d in humans),
            robot_frames=torch.cat(robot_frames),
            human_frames=None if keep else collate_frames(seen, "human", self._reader, transition),
            human_tokens=_stack([self._features.human_tokens(d, transition) for d in seen]) if keep else None,
            human_context_frames=None
            if keep
            else collate_frames(context_pairs, "human", self._reader, context),
            human_context_tokens=_stack([self._features.human_tokens(d, context) for d in context_pairs])
            if keep
            else None,
            robot_frozen_pooled=_stack([self._features.pooled(d, "robot") for d in draw.pairs]),
            human_pooled=_stack([self._features.pooled(d, "human") for d in draw.pairs]),
            robot_cues=collate_cues(robots, "robot", self._reader, self._num_keypoints),
            human_cues=collate_cues(humans, "human", self._reader, self._num_keypoints),
        )


def _stack(tensors: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack(tensors) if tensors else torch.empty(0)
