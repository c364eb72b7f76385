"""One step of stage 2: cross-entropy of the latent-action tokens (paper §3.3).

Human observations take the frozen path of the encoder and robot observations the adapted one. With several workers or
micro-batches every mean is over the whole batch.
"""

import torch

from harp.data.policy_loader import Stage2Batch
from harp.policy.latent_tokens import generate_codes, latent_loss
from harp.policy.prismatic import PrismaticVLA
from harp.policy.tokenizer import PolicyTokenizer, Tokens
from harp.training.policy_stage import PolicyStage
from harp.training.stage import Counts, StepOutput
from harp.training.stage2_config import Stage2Config


class Stage2(PolicyStage):
    """The vision-language-action model with its loss."""

    def __init__(self, config: Stage2Config, vla: PrismaticVLA, tokenizer: PolicyTokenizer) -> None:
        super().__init__(config.training)
        self.config = config
        self.vla = vla
        self.tokenizer = tokenizer
        vla.train_vision(config.vision)

    @property
    def may_skip_parameters(self) -> bool:
        """A micro-batch without robots leaves the adapters out, and blocks behind the features never run."""
        return self.config.vision != "frozen"

    def count(self, batch: Stage2Batch) -> Counts:
        """Observations, by embodiment."""
        robots = int(batch.is_robot.sum())
        return {"all": len(batch.codes), "robot": robots, "human": len(batch.codes) - robots}

    def forward(self, batch: Stage2Batch, totals: Counts) -> StepOutput:
        """This batch's share of the loss, summed over the N_q codes and averaged over observations."""
        output = latent_loss(self.vla, self.visual(batch), self.prompts(batch), batch.codes)
        loss = output.loss * (len(batch.codes) / totals["all"])
        correct = output.correct.float()
        metrics = {"loss": loss.detach(), "accuracy": correct.mean(1).sum() / totals["all"]}
        for place, column in enumerate(correct.T, 1):
            metrics[f"accuracy_{place}"] = column.sum() / totals["all"]
        for side, rows in (("robot", batch.is_robot), ("human", ~batch.is_robot)):
            if totals[side]:
                metrics[f"{side}_accuracy"] = correct[rows].mean(1).sum() / totals[side]
        return StepOutput(loss, metrics)

    @torch.no_grad()
    def generate(self, batch: Stage2Batch) -> torch.Tensor:
        """(B, Q) codes that the policy predicts by itself."""
        return generate_codes(self.vla, self.visual(batch), self.prompts(batch)).codes

    def visual(self, batch: Stage2Batch) -> torch.Tensor:
        """Visual tokens (B, P, D)."""
        dtype = self.vla.projector.fc1.weight.dtype
        if batch.features is not None:
            return self.vla.project(batch.features[:, None].to(dtype))
        assert batch.frames is not None
        images = self.vla.vision.preprocess(batch.frames).to(dtype)
        return self.vla.visual_tokens(images[:, None], batch.is_robot)

    def prompts(self, batch: Stage2Batch) -> Tokens:
        """Prompts of the instructions."""
        return self.tokenizer.prompts(batch.instructions).to(batch.codes.device)
