"""What the training loop asks of a training stage."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch


@dataclass(frozen=True)
class StepOutput:
    """Result of one forward pass."""

    loss: torch.Tensor
    """Scalar with gradient."""
    metrics: dict[str, float] = field(default_factory=dict)
    state: Any = None
    """For `TrainingStage.after_step`."""


class Batch(Protocol):
    """A training batch knows where it comes from."""

    @property
    def step(self) -> int: ...

    @property
    def ids(self) -> list[str]: ...


class TrainingStage(Protocol):
    """A module with a loss."""

    def __call__(self, batch: Any) -> StepOutput: ...

    def train(self) -> Any: ...

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for AdamW, each with `name`, `params`, `lr` and `weight_decay`."""
        ...

    def after_step(self, output: StepOutput, step: int) -> dict[str, float]:
        """Runs after the optimizer's step; returns metrics."""
        ...

    def trained_state(self) -> dict[str, torch.Tensor]:
        """Tensors that training changes."""
        ...

    def load_trained_state(self, state: dict[str, torch.Tensor]) -> None:
        """Inverse of `trained_state`."""
        ...
