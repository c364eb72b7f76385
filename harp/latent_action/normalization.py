"""Standardization of latents before quantization, over the whole batch on however many workers it lies.

Łańcucki et al. (2020) standardize what enters a quantizer, so that codes near the origin are near the latents. Without
it each query's own offset dwarfs what differs between transitions early in training (standard deviations of 0.7 and
0.04 after 20 steps), and each query falls onto a code of its own. Over a batch of both embodiments the same happens one
level up: what differs most is who acts, and humans and robots end up with codes of their own. Standardizing each
embodiment by itself (domain-specific batch norm, Chang et al. 2019) takes that offset away and leaves the motion.

UniVLA and the paper do not say that they standardize, so it is off in the `paper` recipe. torch's own synchronized
batch norm runs on GPUs only.
"""

import torch
from torch import distributed as dist
from torch import nn
from torch.distributed.nn.functional import all_reduce

MOMENTUM = 0.1
EPSILON = 1e-5


class LatentNorm(nn.Module):
    """Batch norm without learned scale and offset; on several workers, of their joint batch, in equal or unequal parts.

    Args:
        num_features: Q·d numbers of a transition's latents.
    """

    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x_BF: torch.Tensor) -> torch.Tensor:
        """(B, Q·d) → (B, Q·d), mean 0 and variance 1 per column; by running statistics in evaluation.

        A batch of fewer than two rows has no variance and is standardized by running statistics too.
        """
        if self.training:
            totals = _over_workers(torch.cat((x_BF.sum(0), x_BF.new_tensor([len(x_BF)]))))
            number = totals[-1].detach()
            if number > 1:
                return self._by_batch(x_BF, totals[:-1] / number, number)
        return nn.functional.batch_norm(x_BF, self.running_mean, self.running_var, eps=EPSILON)

    def _by_batch(self, x_BF: torch.Tensor, mean: torch.Tensor, number: torch.Tensor) -> torch.Tensor:
        variance = _over_workers((x_BF - mean).square().sum(0)) / number
        with torch.no_grad():
            self.running_mean.lerp_(mean, MOMENTUM)
            self.running_var.lerp_(variance * number / (number - 1), MOMENTUM)
        return (x_BF - mean) * (variance + EPSILON).rsqrt()


class EmbodimentNorm(nn.Module):
    """One `LatentNorm` for human and one for robot transitions."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.human, self.robot = LatentNorm(num_features), LatentNorm(num_features)

    def forward(self, x_BF: torch.Tensor, is_robot_B: torch.Tensor) -> torch.Tensor:
        """As `LatentNorm`, each row among those of its embodiment."""
        if not self.training:
            return torch.where(is_robot_B[:, None], self.robot(x_BF), self.human(x_BF))
        out_BF = torch.empty_like(x_BF)
        out_BF[~is_robot_B] = self.human(x_BF[~is_robot_B])
        out_BF[is_robot_B] = self.robot(x_BF[is_robot_B])
        return out_BF


def _over_workers(sums: torch.Tensor) -> torch.Tensor:
    return all_reduce(sums) if dist.is_initialized() and dist.get_world_size() > 1 else sums
