"""Scaled dot-product attention by torch's fused kernel, in float32 on CPUs.

The kernel's bfloat16 backward pass is slow on CPUs: at (62, 6, 65, 64) one core takes 380 ms forward and backward in
bfloat16 and 71 ms in float32. Everything around it may stay in bfloat16.
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
        mask: bool, broadcastable to (batch, heads, queries, keys); False keys are not attended to.
        causal: query n sees keys 0…n only.
    """
    dtype = q.dtype
    if q.device.type == "cpu" and dtype == torch.bfloat16:
        with torch.autocast("cpu", enabled=False):
            q, k, v = q.float(), k.float(), v.float()
            return scaled_dot_product_attention(q, k, v, mask, is_causal=causal).to(dtype)
    return scaled_dot_product_attention(q, k, v, mask, is_causal=causal)
