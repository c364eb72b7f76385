"""Scaled dot-product attention: torch's fused kernel, except in bfloat16 on CPUs.

There the fused kernel is slow (its backward pass most of all), and plain matrix products run on the CPU's bfloat16
units: at (50, 6, 65, 64) one core takes 15 + 188 ms forward and backward in the fused kernel, 25 + 42 ms in the fused
kernel in float32, and 13 + 16 ms by products with a softmax in float32. Scores of all pairs of tokens are then held in
memory, which at the few hundred tokens of an image is less than what the rest of a block keeps.
"""

import torch
from torch.nn.functional import scaled_dot_product_attention


def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    causal: bool = False,
) -> torch.Tensor:
    """softmax(q kᵀ / √d) v.

    Args:
        q, k, v: (batch, heads, tokens, d).
        mask: broadcastable to (batch, heads, queries, keys). Bool: False keys are not attended to; else added to scores.
        causal: query n sees keys 0…n only.
    """
    if is_by_products(q):
        with torch.autocast("cpu", enabled=False):
            return _by_products(q, k, v, mask, causal)
    return scaled_dot_product_attention(q, k, v, mask, is_causal=causal)


def is_by_products(tensor: torch.Tensor) -> bool:
    """Whether attention of this type and device is better off without the fused kernel."""
    return tensor.device.type == "cpu" and tensor.dtype == torch.bfloat16


def _by_products(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None, causal: bool
) -> torch.Tensor:
    scores = ((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)).float()
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1).to(v.dtype) @ v
