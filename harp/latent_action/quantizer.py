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

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Quantized:
    """Shapes: … any leading axes, d latent dimension."""

    straight_through: torch.Tensor
    """(…, d) equals `vectors`; its gradient goes to the latents."""
    vectors: torch.Tensor
    """(…, d) codebook rows, or sums of them; its gradient goes to the codebook."""
    codes: torch.Tensor
    """(…,) int64 in 0…K-1."""


class VectorQuantizer(nn.Module):
    """Q of the paper: K codes of dimension d for all queries, or K for each of Q queries, kept in `codebook.weight` (books · K, d).

    Where each query has a book of its own, it codes what the queries before it left unsaid (residual quantization, as
    in SoundStream, Zeghidour et al. 2021), and the quantized latent of a query is the sum of the codes up to its own.

    Args:
        num_codes: K.
        dim: d.
        dead_after: steps without use after which a code is moved.
        books: 1, or the number of queries.
    """

    steps_unused: torch.Tensor

    def __init__(self, num_codes: int, dim: int, dead_after: int, books: int = 1) -> None:
        super().__init__()
        self.num_codes, self.dead_after, self.books = num_codes, dead_after, books
        self.codebook = nn.Embedding(books * num_codes, dim)
        nn.init.uniform_(self.codebook.weight, -1 / num_codes, 1 / num_codes)
        self.register_buffer("steps_unused", torch.full((books * num_codes,), dead_after, dtype=torch.long))

    def forward(self, latents: torch.Tensor) -> Quantized:
        """Quantize latents (…, Q, d), in float32 whatever the autocast type."""
        device = "cpu" if latents.is_meta else latents.device.type  # the meta device has no autocast
        with torch.autocast(device, enabled=False):
            latents = latents.float() if latents.dtype in (torch.bfloat16, torch.float16) else latents
            said, vectors, rows = 0.0, [], []
            for book, part in enumerate(self._parts(latents)):
                rows.append(self._nearest(part.detach() - said, book))
                vectors.append(said + self.codebook(rows[-1]))
                said = vectors[-1].detach()
            vectors_Qd = torch.cat(vectors, -2)
            # Adding an exact zero, so that the decoder's input is the code to the last bit: in the usual form
            # latents + (vectors - latents) the rounding still depends on what the encoder computed.
            straight_through = vectors_Qd.detach() + (latents - latents.detach())
            return Quantized(straight_through, vectors_Qd, torch.cat(rows, -1) % self.num_codes)

    @torch.no_grad()
    def revive(self, latents: torch.Tensor, generator: torch.Generator) -> list[int]:
        """Count which codes this batch would use, and move dead ones onto what of its latents they should have said.

        Call once per training step, after the optimizer's step.

        Args:
            latents: (…, Q, d) of the current batch.
            generator: source of randomness, so that a resumed run moves the same codes.

        Returns:
            The rows of the codebook moved; what an optimizer remembers of them is of another place.
        """
        said, moved = 0.0, []
        for book, part in enumerate(self._parts(latents.detach().to(self.codebook.weight.dtype))):
            rest = part - said
            moved += self._revive(rest.reshape(-1, rest.shape[-1]), book, generator)
            said = said + self.codebook(self._nearest(rest, book))
        return moved

    def rows(self, codes: torch.Tensor) -> torch.Tensor:
        """Rows of the codebook that codes (…, Q) stand for: the same code of two books is not the same."""
        return codes + self.num_codes * torch.arange(codes.shape[-1], device=codes.device) * (self.books > 1)

    def _parts(self, latents: torch.Tensor) -> Sequence[torch.Tensor]:
        """The latents that each book serves."""
        return latents.split(1, -2) if self.books > 1 else (latents,)

    def _book(self, book: int) -> slice:
        return slice(book * self.num_codes, (book + 1) * self.num_codes)

    def _nearest(self, latents: torch.Tensor, book: int) -> torch.Tensor:
        """Row of the nearest code of a book to each latent."""
        codes = self.codebook.weight.detach()[self._book(book)]
        nearest = torch.cdist(latents.reshape(-1, latents.shape[-1]), codes).argmin(-1)
        return nearest.view(latents.shape[:-1]) + book * self.num_codes

    def _revive(self, flat: torch.Tensor, book: int, generator: torch.Generator) -> list[int]:
        weight, steps_unused = self.codebook.weight[self._book(book)], self.steps_unused[self._book(book)]
        distances = torch.cdist(flat, weight) ** 2
        used = torch.bincount(distances.argmin(-1), minlength=self.num_codes) > 0
        used &= steps_unused < self.dead_after
        steps_unused.copy_(torch.where(used, 0, steps_unused + 1))
        is_dead = steps_unused >= self.dead_after
        dead = is_dead.nonzero().flatten().tolist()
        alive = distances[:, ~is_dead]
        nearest = alive.amin(-1) if alive.shape[1] else torch.ones_like(distances[:, 0])
        moved = []
        for code in dead:
            if nearest.sum() <= 0:  # fewer distinct latents than codes: nothing left to serve
                break
            chosen = flat[torch.multinomial(nearest, 1, generator=generator)]
            weight[code] = chosen[0]
            steps_unused[code] = 0
            nearest = torch.minimum(nearest, torch.cdist(flat, chosen)[:, 0] ** 2)
            moved.append(book * self.num_codes + code)
        return moved


def code_usage(codes: torch.Tensor, num_codes: int) -> tuple[float, float]:
    """(share of codes chosen at least once, perplexity = exp of the entropy of the code histogram)."""
    counts = torch.bincount(codes.flatten(), minlength=num_codes).double()
    share = counts / counts.sum()
    entropy = -(share * share.clamp(min=1e-12).log()).sum()
    return (counts > 0).double().mean().item(), entropy.exp().item()
