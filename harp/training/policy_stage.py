"""What the training modules of stages 2 and 3 share: which parameters train, and how they are kept."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from harp.policy.config import PolicyConfig
from harp.policy.prismatic import PrismaticVLA
from harp.training.config import PolicyTrainingConfig
from harp.training.stage import StepOutput
from harp.vision.vit import Block


class PolicyStage(nn.Module):
    """A policy of which every parameter that requires a gradient is trained.

    Args:
        settings: rates of the optimizer.
    """

    def __init__(self, settings: PolicyTrainingConfig) -> None:
        super().__init__()
        self._settings = settings

    @property
    def policy_config(self) -> PolicyConfig:
        """Of the policy that is trained."""
        return next(part for part in self.modules() if isinstance(part, PrismaticVLA)).policy_config

    def parameter_groups(self) -> list[dict[str, Any]]:
        """One AdamW group for the vision encoder, where it is trained, and one for everything else."""
        groups: dict[str, list[nn.Parameter]] = {"policy": [], "vision": []}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                groups["vision" if ".vision." in f".{name}" else "policy"].append(parameter)
        rates = {"lr": self._settings.learning_rate, "weight_decay": self._settings.weight_decay}
        return [{"name": name, "params": params, **rates} for name, params in groups.items() if params]

    def after_step(
        self,
        outputs: Sequence[StepOutput],
        metrics: dict[str, float],
        step: int,
        optimizer: torch.optim.Optimizer,
    ) -> dict[str, float]:
        """Nothing happens between two steps."""
        return {}

    def units_to_shard(self) -> list[nn.Module] | None:
        """Blocks that are gathered one by one where workers share the parameters; None where each holds all."""
        if not self._settings.sharding:
            return None
        return [module for module in self.modules() if isinstance(module, (LlamaDecoderLayer, Block))]

    def trained_state(self) -> dict[str, torch.Tensor]:
        """What training changes, by name; tied tensors once."""
        return {name: p.detach() for name, p in self.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def load_trained_state(self, state: dict[str, torch.Tensor]) -> None:
        """Inverse of `trained_state`."""
        own = self.trained_state()
        if own.keys() != state.keys():
            raise ValueError(f"the checkpoint trains other parameters, e.g. {min(own.keys() ^ state.keys())}")
        for name, tensor in own.items():
            tensor.copy_(state[name])
