"""What the training loop asks of a training stage."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

Counts = dict[str, int]
"""How many items each mean of a loss runs over, by name."""


@dataclass(frozen=True)
class StepOutput:
    """Result of one forward pass on one micro-batch of one worker.

    The sums of `loss` and of each metric over micro-batches and workers are those of the whole batch. The gradients of
    `loss` sum up to the gradient of the whole batch's loss.
    """

    loss: torch.Tensor
    """Scalar with gradient."""
    metrics: dict[str, torch.Tensor] = field(default_factory=dict)
    """Scalars without gradient."""
    state: Any = None
    """For `TrainingStage.after_step`."""


class Batch(Protocol):
    """A training batch knows where it comes from."""

    @property
    def step(self) -> int: ...

    @property
    def ids(self) -> list[str]: ...


class Trained(Protocol):
    """What a checkpoint keeps."""

    def trained_state(self) -> dict[str, torch.Tensor]:
        """Tensors that training changes."""
        ...

    def load_trained_state(self, state: dict[str, torch.Tensor]) -> None:
        """Inverse of `trained_state`."""
        ...


class TrainingStage(Trained, Protocol):
    """A module with a loss."""

    @property
    def may_skip_parameters(self) -> bool:
        """Whether a micro-batch may leave parameters without gradient."""
        ...

    def units_to_shard(self) -> list[nn.Module] | None:
        """Parts that are gathered one by one where workers share all parameters; None where each worker holds all."""
        ...

    def __call__(self, batch: Any, totals: Counts) -> StepOutput:
        """Loss of a micro-batch, where `totals` are the counts of the whole batch."""
        ...

    def count(self, batch: Any) -> Counts:
        """Counts of a micro-batch; the same names in every batch."""
        ...

    def train(self) -> Any: ...

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for AdamW, each with `name`, `params`, `lr` and `weight_decay`."""
        ...

    def after_step(
        self,
        outputs: Sequence[StepOutput],
        metrics: dict[str, float],
        step: int,
        optimizer: torch.optim.Optimizer,
    ) -> dict[str, float]:
        """Runs after the optimizer's step, with the metrics of the whole batch; returns further metrics."""
        ...
