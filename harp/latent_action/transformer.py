"""Spatio-temporal transformer of the latent action model.

A block is spatial attention among all tokens of a frame, causal temporal attention along each token index,
and a feed-forward network, each pre-norm. Language tokens join every frame after the position encoding.
Sub-module names are UniVLA's.

Shapes: B videos, T frames, N visual tokens, L language tokens, I input dimension, D width.
"""

import math

import torch
from torch import nn

from harp.latent_action.attention import SelfAttention
from harp.latent_action.config import LatentActionConfig


def sinusoidal_positions(n: int, width: int, like: torch.Tensor) -> torch.Tensor:
    """(n, width) position encoding of Vaswani et al.: sines at even, cosines at odd dimensions."""
    position = torch.arange(n, device=like.device, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, device=like.device) * (-math.log(10_000.0) / width))
    angles = position * rate
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)[:, :width].to(like.dtype)


def _ffn(config: LatentActionConfig) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(config.width, config.ffn_ratio * config.width),
        nn.GELU(),
        nn.Dropout(config.dropout),
        nn.Linear(config.ffn_ratio * config.width, config.width),
    )


def _input_projection(in_dim: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(in_dim), nn.Linear(in_dim, width), nn.LayerNorm(width))


class SpatioTemporalBlock(nn.Module):
    """Spatial attention, causal temporal attention, feed-forward."""

    def __init__(self, config: LatentActionConfig) -> None:
        super().__init__()
        self.spatial_attn = SelfAttention(config.width, config.heads, config.dropout)
        self.temporal_attn = SelfAttention(config.width, config.heads, config.dropout)
        self.ffn = _ffn(config)
        self.norm1 = nn.LayerNorm(config.width)
        self.norm2 = nn.LayerNorm(config.width)
        self.norm3 = nn.LayerNorm(config.width)

    def forward(self, x_BTND: torch.Tensor, key_mask_BN: torch.Tensor) -> torch.Tensor:
        B, T, N, D = x_BTND.shape
        # Frames fold batch-major, so the mask of a video repeats for each of its frames in a row.
        frame_mask = key_mask_BN.repeat_interleave(T, dim=0)
        frames = x_BTND.reshape(B * T, N, D)
        x = x_BTND + self.spatial_attn(self.norm1(frames), frame_mask).view(B, T, N, D)
        tracks = self.norm2(x).transpose(1, 2).reshape(B * N, T, D)
        x = x + self.temporal_attn(tracks, causal=True).view(B, N, T, D).transpose(1, 2)
        return x + self.ffn(self.norm3(x))


class SpatioTemporalTransformer(nn.Module):
    """Encoder over the frames of a transition."""

    def __init__(self, in_dim: int, num_blocks: int, config: LatentActionConfig) -> None:
        super().__init__()
        self.ffn = _input_projection(in_dim, config.width)
        self.transformer_blocks = nn.ModuleList(SpatioTemporalBlock(config) for _ in range(num_blocks))

    def forward(
        self, x_BTNI: torch.Tensor, language_BLD: torch.Tensor, language_mask_BL: torch.Tensor
    ) -> torch.Tensor:
        """Returns (B, T, N + L, D): visual tokens first, then language."""
        _, T, N, _ = x_BTNI.shape
        x = self.ffn(x_BTNI)
        x = x + sinusoidal_positions(N, x.shape[-1], x)
        x = torch.cat((x, language_BLD[:, None].expand(-1, T, -1, -1).to(x.dtype)), dim=2)
        key_mask = _key_mask(N, language_mask_BL)
        for block in self.transformer_blocks:
            x = block(x, key_mask)
        return x


class SpatioBlock(nn.Module):
    """Spatial attention and feed-forward."""

    def __init__(self, config: LatentActionConfig) -> None:
        super().__init__()
        self.spatial_attn = SelfAttention(config.width, config.heads, config.dropout)
        self.ffn = _ffn(config)
        self.norm1 = nn.LayerNorm(config.width)
        self.norm2 = nn.LayerNorm(config.width)

    def forward(self, x_BND: torch.Tensor, key_mask_BN: torch.Tensor) -> torch.Tensor:
        x = x_BND + self.spatial_attn(self.norm1(x_BND), key_mask_BN)
        return x + self.ffn(self.norm2(x))


class SpatioTransformer(nn.Module):
    """Decoder over one frame."""

    def __init__(self, in_dim: int, out_dim: int, num_blocks: int, config: LatentActionConfig) -> None:
        super().__init__()
        self.ffn = _input_projection(in_dim, config.width)
        self.transformer_blocks = nn.ModuleList(SpatioBlock(config) for _ in range(num_blocks))
        self.out = nn.Linear(config.width, out_dim)

    def forward(
        self, x_BNI: torch.Tensor, language_BLD: torch.Tensor, language_mask_BL: torch.Tensor
    ) -> torch.Tensor:
        """Returns (B, N, out_dim) for the visual tokens."""
        N = x_BNI.shape[1]
        x = self.ffn(x_BNI)
        x = x + sinusoidal_positions(N, x.shape[-1], x)
        x = torch.cat((x, language_BLD.to(x.dtype)), dim=1)
        key_mask = _key_mask(N, language_mask_BL)
        for block in self.transformer_blocks:
            x = block(x, key_mask)
        return self.out(x[:, :N])


def _key_mask(num_visual: int, language_mask_BL: torch.Tensor) -> torch.Tensor:
    seen = language_mask_BL.new_ones(language_mask_BL.shape[0], num_visual)
    return torch.cat((seen, language_mask_BL), dim=1)
