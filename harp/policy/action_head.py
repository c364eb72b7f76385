"""Action heads: hidden states of the language model to a chunk of normalized actions (paper §3.4, A.3).

`ParallelHead` is OpenVLA-OFT's: the A hidden states of one time step, side by side, through an MLP with two residual
blocks; 151.1 M parameters at Llama-2's width and A = 7. `LatentHead` is UniVLA's: pooling by attention over the
visual hidden states, then, seeded by what that found, over the latent-action embeddings; 12.6 M parameters. Parameter
names are the published ones, so that published heads load.
"""

import torch
from torch import Tensor, nn

RESIDUAL_BLOCKS = 2
POOLING_WIDTH = 64
"""Of one head of the latent head's attention."""


def pooling_heads(width: int) -> int:
    """Heads of the latent head's attention."""
    return max(1, width // POOLING_WIDTH)


class ProprioProjector(nn.Module):
    """Normalized robot state (B, S) to one token (B, 1, D)."""

    def __init__(self, proprioception_dim: int, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(proprioception_dim, width)
        self.fc2 = nn.Linear(width, width)

    def forward(self, state_BS: Tensor) -> Tensor:
        return self.fc2(nn.functional.gelu(self.fc1(state_BS)))[:, None]


class _ResidualBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.ffn = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.ffn(x)


class _MLPResNet(nn.Module):
    def __init__(self, input_width: int, width: int, output_width: int) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(input_width)
        self.fc1 = nn.Linear(input_width, width)
        self.mlp_resnet_blocks = nn.ModuleList(_ResidualBlock(width) for _ in range(RESIDUAL_BLOCKS))
        self.layer_norm2 = nn.LayerNorm(width)
        self.fc2 = nn.Linear(width, output_width)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.fc1(self.layer_norm1(x)))
        for block in self.mlp_resnet_blocks:
            x = block(x)
        return self.fc2(self.layer_norm2(x))


class ParallelHead(nn.Module):
    """Hidden states of the K·A action slots to K actions; trained with the L1 loss."""

    def __init__(self, width: int, action_dim: int) -> None:
        super().__init__()
        self.action_dim = action_dim
        self.model = _MLPResNet(width * action_dim, width, action_dim)

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        """(B, K·A, D), time step after time step, → (B, K, A)."""
        return self.model(hidden_BTD.unflatten(1, (-1, self.action_dim)).flatten(2))


class _RMSNorm(nn.Module):
    """RMS norm whose weight is named `g` and whose floor, not its offset, avoids the division by zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        rms = x.norm(dim=-1, keepdim=True) * x.shape[-1] ** -0.5
        return x / rms.clamp(min=1e-8) * self.g


class _SwishGLU(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, 2 * hidden)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.project(x).chunk(2, dim=-1)
        return value * nn.functional.silu(gate)


class _PoolingAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(width, 2 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, seed_B1E: Tensor, x_BNE: Tensor) -> Tensor:
        split = (self.heads, -1)
        q = self.q(seed_B1E).unflatten(-1, split).transpose(1, 2)
        k, v = (part.unflatten(-1, split).transpose(1, 2) for part in self.kv(x_BNE).chunk(2, dim=-1))
        pooled = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.proj(pooled.transpose(1, 2).flatten(2))


class _Pooling(nn.Module):
    """One learned query attends to a set of tokens; norms come after the additions."""

    def __init__(self, token_width: int, width: int, heads: int) -> None:
        super().__init__()
        self.projection = nn.Linear(token_width, width)
        self.latents = nn.Parameter(torch.randn(1, width) * 0.02)
        self.attn_norm = _RMSNorm(width)
        self.attn = _PoolingAttention(width, heads)
        self.mlp_norm = _RMSNorm(width)
        self.mlp = nn.Sequential(_SwishGLU(width, 4 * width), nn.Linear(4 * width, width))

    def forward(self, tokens_BND: Tensor, seed_BE: Tensor | None = None) -> Tensor:
        query_B1E = self.latents.expand(len(tokens_BND), 1, -1)
        if seed_BE is not None:
            query_B1E = query_B1E + seed_BE[:, None]
        x = self.attn_norm(query_B1E + self.attn(query_B1E, self.projection(tokens_BND)))
        return self.mlp_norm(x + self.mlp(x))[:, 0]


class LatentHead(nn.Module):
    """Latent-action embeddings and visual hidden states to K actions in -1 … 1."""

    def __init__(self, token_width: int, width: int, chunk: int, action_dim: int) -> None:
        super().__init__()
        heads = pooling_heads(width)
        self.chunk = chunk
        self.latent_action_pool = _Pooling(token_width, width, heads)
        self.visual_pool = _Pooling(token_width, width, heads)
        self.proj = nn.Sequential(nn.Linear(width, chunk * action_dim), nn.Tanh())

    def forward(self, latent_BQD: Tensor, visual_BVD: Tensor) -> Tensor:
        """Embeddings at the N_q codes and at the visual tokens → (B, K, A)."""
        pooled = self.latent_action_pool(latent_BQD, self.visual_pool(visual_BVD))
        return self.proj(pooled).unflatten(-1, (self.chunk, -1))
