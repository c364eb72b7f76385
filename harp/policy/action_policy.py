"""Stage 3: a policy that predicts a chunk of K actions from one observation.

`ParallelPolicy` (OpenVLA-OFT, the paper's) makes one bidirectional pass over
`[<BOS>][patches][proprioception][prompt][K·A zeroed slots][<EOS>]` and reads the hidden state one position before
each slot, where a next-token model would predict it. `LatentPolicy` (UniVLA) lets the model generate its latent
action and pools the embeddings of the codes; there attention stays causal.
"""

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from harp.policy.action_head import LatentHead, ParallelHead, ProprioProjector
from harp.policy.config import ActionConfig, PolicyConfig
from harp.policy.latent_tokens import LatentLoss, generate_codes, latent_loss
from harp.policy.mask import bidirectional_mask, check_bidirectional
from harp.policy.prismatic import PrismaticVLA, cast_weights, gather
from harp.policy.tokenizer import Tokens, append

Head = TypeVar("Head", bound=nn.Module)


@dataclass(frozen=True)
class Observations:
    """What B robots see and are told."""

    images: Tensor | None
    """(B, I, 3·backbones, S, S) from the encoder's `preprocess`: third view, then wrist; None where `features` are
    given."""
    prompts: Tokens
    proprioception: Tensor | None = None
    """(B, S) normalized state, if the policy reads one."""
    is_robot: Tensor | None = None
    """(B,) bool, all true by default."""
    features: Tensor | None = None
    """(B, I, P, F) patch features of the images, where they were computed before."""


class ActionPolicy(nn.Module, Generic[Head]):
    """What both kinds share: the model, and the visual tokens with the robot's state behind them."""

    action: ActionConfig
    action_head: Head

    def __init__(self, vla: PrismaticVLA) -> None:
        super().__init__()
        self.action = action_config(vla.policy_config)
        self.vla = vla
        state_dim = self.action.proprioception_dim
        width = vla.policy_config.language_model.width
        self.proprio_projector = ProprioProjector(state_dim, width) if state_dim else None

    def visual(self, observations: Observations) -> Tensor:
        """(B, V, D): patches of all cameras, and the proprioception token.

        Raises:
            ValueError: a state is given and not configured, or the other way round.
        """
        patches = self._patches(observations)
        state = observations.proprioception
        if (state is None) != (self.proprio_projector is None):
            raise ValueError(
                f"proprioception_dim is {self.action.proprioception_dim}, state given: {state is not None}"
            )
        if state is None or self.proprio_projector is None:
            return patches
        return torch.cat([patches, self.proprio_projector(state.to(patches.dtype))], dim=1)

    def _patches(self, observations: Observations) -> Tensor:
        images, is_robot = observations.images, observations.is_robot
        if observations.features is not None:
            return self.vla.project(observations.features.to(self.vla.projector.fc1.weight.dtype))
        assert images is not None, "an observation has images or features of them"
        if is_robot is None:
            is_robot = torch.ones(len(images), dtype=torch.bool, device=images.device)
        return self.vla.visual_tokens(images, is_robot)

    def predict(self, observations: Observations) -> Tensor:
        """Normalized actions (B, K, A), without gradient and the same every time."""
        raise NotImplementedError


class ParallelPolicy(ActionPolicy[ParallelHead]):
    """One pass for the whole chunk; asserts at construction that its attention is bidirectional."""

    def __init__(self, vla: PrismaticVLA) -> None:
        super().__init__(vla)
        self.action_head = ParallelHead(vla.policy_config.language_model.width, self.action.dim)
        check_bidirectional(vla.backbone)

    def forward(self, observations: Observations) -> Tensor:
        """Normalized actions (B, K, A)."""
        return self.action_head(self.slot_features(observations))

    def slot_features(self, observations: Observations) -> Tensor:
        """Hidden states (B, K·A, D) one position before each action slot."""
        text, is_slot = self.with_slots(observations.prompts)
        sequence = self.vla.embed(self.visual(observations), text, zeroed_BL=is_slot)
        mask = bidirectional_mask(sequence.is_token, sequence.embeddings.dtype)
        first = sequence.num_visual + observations.prompts.lengths[:, None]
        slots = torch.arange(self.num_slots, device=first.device)
        return gather(self.vla.hidden(sequence, mask), first + slots - 1)

    @property
    def num_slots(self) -> int:
        return self.action.chunk * self.action.dim

    def with_slots(self, prompts: Tokens) -> tuple[Tokens, Tensor]:
        """Prompts with K·A slots and `<EOS>` behind them, and which text tokens are slots (B, L)."""
        language = self.vla.policy_config.language_model
        suffix = prompts.ids.new_full((len(prompts.ids), self.num_slots + 1), language.pad_id)
        suffix[:, -1] = language.eos_id
        text = append(prompts, suffix, language.pad_id)
        after = torch.arange(text.ids.shape[1], device=text.ids.device) - prompts.lengths[:, None]
        return text, (after >= 0) & (after < self.num_slots)

    @torch.no_grad()
    def predict(self, observations: Observations) -> Tensor:
        return self(observations)


@dataclass(frozen=True)
class LatentStep:
    """What a training step of `LatentPolicy` needs."""

    actions: Tensor
    """(B, K, A) normalized."""
    latent: LatentLoss
    """Cross-entropy of the codes, to be added to the action loss."""


class LatentPolicy(ActionPolicy[LatentHead]):
    """Latent action first, then the chunk from its embeddings."""

    def __init__(self, vla: PrismaticVLA) -> None:
        super().__init__(vla)
        action, width = self.action, vla.policy_config.language_model.width
        self.action_head = LatentHead(width, action.latent_head_width, action.chunk, action.dim)

    def forward(self, observations: Observations, codes_BQ: Tensor) -> LatentStep:
        """Actions from the embeddings of the true codes."""
        latent = latent_loss(self.vla, self.visual(observations), observations.prompts, codes_BQ)
        return LatentStep(self.action_head(latent.hidden, latent.visual_hidden), latent)

    @torch.no_grad()
    def predict(self, observations: Observations) -> Tensor:
        generated = generate_codes(self.vla, self.visual(observations), observations.prompts)
        return self.action_head(generated.hidden, generated.visual_hidden)


_KINDS: dict[Literal["parallel", "latent"], type[ActionPolicy]] = {
    "parallel": ParallelPolicy,
    "latent": LatentPolicy,
}


def build_action_policy(vla: PrismaticVLA) -> ActionPolicy:
    """The policy its configuration names, with new heads of the model's dtype."""
    policy = _KINDS[action_config(vla.policy_config).head](vla)
    return cast_weights(policy, vla.projector.fc1.weight.dtype)


def action_config(config: PolicyConfig) -> ActionConfig:
    """The stage-3 part of a configuration.

    Raises:
        ValueError: it has none.
    """
    if config.action is None:
        raise ValueError("the policy has no `action` configuration: it predicts latent actions only")
    return config.action
