"""Batches of stage 2: observations with the codes of what happens next."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from harp.data.policy_labels import Transition, TransitionDraws
from harp.data.prefetch import StepLoader
from harp.data.shards import ShardReader


@dataclass(frozen=True)
class Stage2Batch:
    """Shapes: B observations, Q codes."""

    step: int
    micro: int
    subject_ids: tuple[str, ...]
    frames: torch.Tensor | None
    """(B, H, W, 3) uint8 RGB, where there are no features."""
    features: torch.Tensor | None
    """(B, P, F) float16 patch features, computed before."""
    is_robot: torch.Tensor
    """(B,) bool."""
    instructions: tuple[str, ...]
    codes: torch.Tensor
    """(B, Q) int64."""

    @property
    def ids(self) -> list[str]:
        """Subjects in the batch, for error messages."""
        return list(dict.fromkeys(self.subject_ids))


Features = Callable[[Transition], np.ndarray]
"""Patch features (P, F) of what is seen at a transition."""


def collate(
    transitions: Sequence[Transition],
    reader: ShardReader,
    step: int = 0,
    micro: int = 0,
    *,
    features: Features | None = None,
) -> Stage2Batch:
    """Some transitions as a batch: with their pictures, or with features that take the pictures' place."""
    return Stage2Batch(
        step=step,
        micro=micro,
        subject_ids=tuple(t.clip.subject.subject_id for t in transitions),
        frames=None if features else _pictures(transitions, reader),
        features=torch.from_numpy(np.stack([features(t) for t in transitions])) if features else None,
        is_robot=torch.tensor([t.clip.side == "robot" for t in transitions]),
        instructions=tuple(t.clip.subject.instruction for t in transitions),
        codes=torch.from_numpy(np.stack([t.codes for t in transitions]).astype(np.int64)),
    )


def _pictures(transitions: Sequence[Transition], reader: ShardReader) -> torch.Tensor:
    frames = []
    for transition in transitions:
        segment, local = transition.clip.subject.locate(transition.frame)
        frames.append(reader.frames(segment, transition.clip.side, [local]))
    return torch.from_numpy(np.concatenate(frames))


class Stage2Loader(StepLoader[Stage2Batch]):
    """Iterates from its position to `num_steps`."""

    def __init__(
        self,
        draws: TransitionDraws,
        reader: ShardReader,
        num_steps: int,
        *,
        features: Features | None = None,
        threads: int = 2,
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
    ) -> None:
        super().__init__(
            num_steps,
            {"batch_size": draws.batch_size},
            threads=threads,
            rank=rank,
            world_size=world_size,
            accumulate=accumulate,
        )
        self._draws, self._reader, self._features = draws, reader, features

    def load(self, step: int, micro: int = 0) -> Stage2Batch:
        drawn = self._draws.draw(step)[self.share(micro)]
        return collate(drawn, self._reader, step, micro, features=self._features)
