"""Multi-head self-attention with a key mask, run by torch's fused kernel.

Parameter names are UniVLA's (`to_q`, `to_k`, `to_v`, `to_out.0`; no bias on the first three), so that its
checkpoints map one to one.
"""

import torch
from torch import nn

from harp.attention import attention


class SelfAttention(nn.Module):
    """Shapes: B batch, N tokens, D width."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of {heads} heads")
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(width, width, bias=False)
        self.to_v = nn.Linear(width, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width), nn.Dropout(dropout))

    def forward(
        self, x_BND: torch.Tensor, key_mask_BN: torch.Tensor | None = None, causal: bool = False
    ) -> torch.Tensor:
        """Attend among the tokens of each batch element.

        Args:
            key_mask_BN: False where a token is padding, which nobody may attend to.
            causal: token n sees tokens 0…n only.
        """
        B, N, D = x_BND.shape
        q, k, v = (
            layer(x_BND).view(B, N, self.heads, D // self.heads).transpose(1, 2)
            for layer in (self.to_q, self.to_k, self.to_v)
        )
        mask = None if key_mask_BN is None else key_mask_BN[:, None, None, :]
        y = attention(q, k, v, mask, causal)
        return self.to_out(y.transpose(1, 2).reshape(B, N, D))
