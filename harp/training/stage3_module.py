"""One step of stage 3: the L1 loss of a chunk of normalized actions (paper §3.4, A.3; OpenVLA-OFT).

With the latent head the cross-entropy of the codes is added, as UniVLA does. With several workers or micro-batches every
mean is over the whole batch; actions behind an episode's end count nowhere.
"""

import torch
from peft import LoraModel

from harp.data.policy_chunks import Stage3Batch
from harp.policy.action_policy import LatentPolicy, Observations, build_action_policy
from harp.policy.lora import add_lora
from harp.policy.prismatic import PrismaticVLA
from harp.policy.tokenizer import PolicyTokenizer
from harp.training.policy_stage import PolicyStage
from harp.training.stage import Counts, StepOutput
from harp.training.stage3_config import Stage3Config


class Stage3(PolicyStage):
    """The policy with its loss; what trains of the model is low-rank updates, or all of it."""

    def __init__(self, config: Stage3Config, vla: PrismaticVLA, tokenizer: PolicyTokenizer) -> None:
        super().__init__(config.training)
        self.config = config
        self.tokenizer = tokenizer
        self.policy = build_action_policy(vla)
        settings = config.lora
        vla.requires_grad_(True)
        vla.train_vision(config.vision)
        self._lora = [add_lora(vla, settings.rank, settings.alpha, settings.vision)] if settings else []
        # A list hides the handle from the module: it holds the same parameters under other names.

    @property
    def lora(self) -> LoraModel | None:
        """The handle that merging takes."""
        return self._lora[0] if self._lora else None

    @property
    def may_skip_parameters(self) -> bool:
        """The parallel head reads no output layer, and blocks behind the features never run."""
        return True

    def count(self, batch: Stage3Batch) -> Counts:
        """Observations, and actions that exist."""
        return {"observations": len(batch.actions), "actions": int(batch.is_action.sum())}

    def forward(self, batch: Stage3Batch, totals: Counts) -> StepOutput:
        """This batch's share of the L1 loss, and of the codes' cross-entropy with the latent head."""
        observations, metrics = self.observations(batch), {}
        share = len(batch.actions) / totals["observations"]
        if isinstance(self.policy, LatentPolicy):
            assert batch.codes is not None
            output = self.policy(observations, batch.codes)
            predicted, latent = output.actions, output.latent.loss * share
            metrics["accuracy"] = output.latent.accuracy.mean() * share
        else:
            predicted, latent = self.policy(observations), torch.zeros(())
        errors_BK = (predicted.float() - batch.actions).abs().mean(-1)
        action_l1 = (errors_BK * batch.is_action).sum() / totals["actions"]
        loss = action_l1 + latent.to(action_l1.device)
        metrics |= {
            "loss": loss.detach(),
            "action_l1": action_l1.detach(),
            "first_action_l1": errors_BK[:, 0].detach().sum() / totals["observations"],
        }
        return StepOutput(loss, metrics)

    def observations(self, batch: Stage3Batch) -> Observations:
        """The batch as the policy reads it."""
        vla = self.policy.vla
        images = [vla.vision.preprocess(v) for v in (batch.third_view, batch.wrist) if v is not None]
        return Observations(
            images=torch.stack(images, dim=1).to(vla.projector.fc1.weight.dtype) if images else None,
            features=batch.features,
            prompts=self.tokenizer.prompts(batch.instructions).to(batch.actions.device),
            proprioception=batch.proprioception,
        )
