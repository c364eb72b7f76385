"""Batches of stage 1, prepared ahead by threads.

Decoding JPEGs and reading mapped files release the interpreter lock, so a few threads hide them behind the step
that runs. What a batch holds is a pure function of its step; the position to resume from is a step number, and a run
may resume on another number of ranks.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Literal

import torch

from data_schemas.errors import UserError
from harp.data.batch import Stage1Batch, collate_cues, collate_frames
from harp.data.frozen_features import FrozenFeatures
from harp.data.sampling import ClipDraw, TransitionSampler
from harp.data.shards import ShardReader

HumanTokens = Literal["none", "transitions", "all"]
"""Human frames whose patch tokens training reads: none (pooled features are enough), those of transitions (the
latent action model), or the context frames of pairs, too (pooling by attention)."""


class Stage1Loader:
    """Iterates from its position to `num_steps`.

    The global batch of a step is split evenly over the ranks, and on each rank over the micro-batches whose gradients
    are accumulated: rank r of W gives in micro-batch m of k the pairs `[m W + r :: W k]` of the step's draw, and
    the singles likewise.

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
        self._sampler = sampler
        self._reader = reader
        self._features = features
        self._num_keypoints = num_keypoints
        self._num_steps = num_steps
        self._human_tokens = human_tokens
        self._rank = rank
        self._world_size = world_size
        self._accumulate = accumulate
        self._step = 0
        parts = world_size * accumulate
        for name in ("pairs_per_batch", "singles_per_batch"):
            number = getattr(sampler, name)
            if number % parts:
                raise UserError(
                    f"A batch of {number} {name.removesuffix('_per_batch')} cannot be split evenly over "
                    f"{world_size} ranks x {accumulate} micro-batches; set data.{name} to a multiple of {parts}."
                )

    def state_dict(self) -> dict[str, int]:
        """Position: the step whose batch comes next."""
        return {"step": self._step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue at a saved position."""
        self._step = state["step"]

    def __iter__(self) -> Iterator[Stage1Batch]:
        threads = self._sampler.config.loader_threads
        positions = (
            (step, micro) for step in range(self._step, self._num_steps) for micro in range(self._accumulate)
        )
        pool = ThreadPoolExecutor(threads, "batches")
        try:
            ahead: deque[Future[Stage1Batch]] = deque(
                pool.submit(self.load, *position) for position in islice(positions, threads)
            )
            while ahead:
                batch = ahead.popleft().result()
                ahead.extend(pool.submit(self.load, *position) for position in islice(positions, 1))
                if batch.micro == self._accumulate - 1:
                    self._step = batch.step + 1
                yield batch
        finally:
            # Whoever stops early need not wait for batches that nobody will see.
            pool.shutdown(cancel_futures=True)

    def load(self, step: int, micro: int = 0) -> Stage1Batch:
        """This rank's share of a step, or one micro-batch of it."""
        draw = self._sampler.draw(step)
        part = slice(micro * self._world_size + self._rank, None, self._world_size * self._accumulate)
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
