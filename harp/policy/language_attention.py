"""Attention of the language model: `transformers`' SDPA, but for what `harp.attention` does better.

What that is worth: `python -m benchmarks.training.stage2_step --set training.precision=bf16`.
"""

from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from harp.attention import attention, is_by_products

NAME = "harp"
"""For `set_attn_implementation`."""


def language_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """What `transformers` calls: queries (batch, heads, tokens, d), keys and values of as many heads or fewer.

    Returns:
        (batch, tokens, heads, d), and no attention weights.
    """
    if not is_by_products(value):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    # Rotary positions leave queries and keys in float32 under autocast, which would round them before its own kernel, too.
    query, key = query.to(value.dtype), key.to(value.dtype)
    groups = query.shape[1] // key.shape[1]
    key, value = (each.repeat_interleave(groups, dim=1) if groups > 1 else each for each in (key, value))
    # A single query is the newest token of a cache, which sees all.
    causal = attention_mask is None and query.shape[2] > 1
    return attention(query, key, value, attention_mask, causal).transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, language_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
