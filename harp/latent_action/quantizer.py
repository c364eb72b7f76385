"""Gradient vector quantizer: nearest code, straight-through estimator, revival of dead codes.

A code that no latent chose for `dead_after` steps is moved onto a latent of the current batch, drawn with
probability proportional to its squared distance to the nearest code in use (the seeding rule of k-means++).
A moved code therefore lands where latents are badly served and is chosen at once. All codes count as dead before
the first step, so the first batch initializes the codebook: codes of a random start lie far from the latents,
and one or two of them would win everything.

Latents that are quantized from the first step on have nothing to say yet, and the commitment loss makes the most of that: it
gathers them about codes that mean nothing, which the decoder then learns to do without. With `quantize_after` the decoder
reads the latents themselves in the first part of the training, and codes come to stand where latents already are. On the
simulated tabletop, for the latent action model alone and with a lower commitment and a higher rate of the codes as well, codes of
a pair then agreed in 30 % instead of 11 % after 200 steps, with 10 % over time (benchmarks/RESULTS.md has each change by itself).
"""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Quantized:
    """Shapes: … any leading axes, d latent dimension."""

    straight_through: torch.Tensor
    """(…, d) equals `vectors`; its gradient goes to the latents."""
    vectors: torch.Tensor
    """(…, d) codebook rows; its gradient goes to the codebook."""
    codes: torch.Tensor
    """(…,) int64 in 0…K-1."""


class VectorQuantizer(nn.Module):
    """Q of the paper: K codes of dimension d, kept in `codebook.weight` (K, d)."""

    steps_unused: torch.Tensor

    def __init__(self, num_codes: int, dim: int, dead_after: int) -> None:
        super().__init__()
        self.dead_after = dead_after
        self.codebook = nn.Embedding(num_codes, dim)
        nn.init.uniform_(self.codebook.weight, -1 / num_codes, 1 / num_codes)
        self.register_buffer("steps_unused", torch.full((num_codes,), dead_after, dtype=torch.long))

    def forward(self, latents: torch.Tensor) -> Quantized:
        """Replace each latent (…, d) by its nearest code, in float32 whatever the autocast type."""
        device = "cpu" if latents.is_meta else latents.device.type  # the meta device has no autocast
        with torch.autocast(device, enabled=False):
            latents = latents.float() if latents.dtype in (torch.bfloat16, torch.float16) else latents
            flat = latents.reshape(-1, latents.shape[-1])
            codes = torch.cdist(flat.detach(), self.codebook.weight.detach()).argmin(-1)
            codes = codes.view(latents.shape[:-1])
            vectors = self.codebook(codes)
            # Adding an exact zero, so that the decoder's input is the code to the last bit: in the usual form
            # latents + (vectors - latents) the rounding still depends on what the encoder computed.
            straight_through = vectors.detach() + (latents - latents.detach())
            return Quantized(straight_through, vectors, codes)

    @torch.no_grad()
    def revive(self, latents: torch.Tensor, generator: torch.Generator) -> list[int]:
        """Count which codes this batch would use, and move dead ones onto its latents.

        Call once per training step, after the optimizer's step.

        Args:
            latents: (…, d) of the current batch.
            generator: source of randomness, so that a resumed run moves the same codes.

        Returns:
            The codes moved; what an optimizer remembers of them is of another place.
        """
        flat = latents.detach().reshape(-1, latents.shape[-1]).to(self.codebook.weight.dtype)
        distances = torch.cdist(flat, self.codebook.weight) ** 2
        used = torch.bincount(distances.argmin(-1), minlength=self.codebook.num_embeddings) > 0
        used &= self.steps_unused < self.dead_after
        self.steps_unused.copy_(torch.where(used, 0, self.steps_unused + 1))
        is_dead = self.steps_unused >= self.dead_after
        dead = is_dead.nonzero().flatten().tolist()
        alive = distances[:, ~is_dead]
        nearest = alive.amin(-1) if alive.shape[1] else torch.ones_like(distances[:, 0])
        moved = []
        for code in dead:
            if nearest.sum() <= 0:  # fewer distinct latents than codes: nothing left to serve
                break
            chosen = flat[torch.multinomial(nearest, 1, generator=generator)]
            self.codebook.weight[code] = chosen[0]
            self.steps_unused[code] = 0
            nearest = torch.minimum(nearest, torch.cdist(flat, chosen)[:, 0] ** 2)
            moved.append(code)
        return moved


def code_usage(codes: torch.Tensor, num_codes: int) -> tuple[float, float]:
    """(share of codes chosen at least once, perplexity = exp of the entropy of the code histogram)."""
    counts = torch.bincount(codes.flatten(), minlength=num_codes).double()
    share = counts / counts.sum()
    entropy = -(share * share.clamp(min=1e-12).log()).sum()
    return (counts > 0).double().mean().item(), entropy.exp().item()
