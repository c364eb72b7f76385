"""One vision transformer for DINOv2 and SigLIP, with a place for the robot-only adapter after each branch.

A pre-norm ViT: patches → [class token | registers | patches] + positions → blocks of attention and FFN, each branch
optionally scaled by LayerScale. There is no final norm and no head: HARP reads patch tokens of an inner block.
Attention is `scaled_dot_product_attention` on one fused qkv projection. Position embeddings are kept at the grid the
model runs at and resampled when weights are loaded, not in every forward: the backbone is frozen.

Shape suffixes: B images, C channels, H×W pixels, N tokens, P patches, D width.
"""

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from data_schemas.strict_model import StrictModel
from harp.attention import attention
from harp.vision.adapter import AdaptedRows, RobotAdapter

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ViTConfig(StrictModel):
    """Architecture of one ViT."""

    width: int = Field(gt=0)
    depth: int = Field(gt=0)
    heads: int = Field(gt=0)
    mlp_width: int = Field(gt=0)
    patch_size: int = Field(default=14, gt=0)
    position_grid: int = Field(gt=0)
    """Side of the grid of the pretrained position embeddings, in patches."""
    position_antialias: bool = False
    """Whether the release resamples that grid with antialiasing."""
    class_token: bool
    num_registers: int = Field(default=0, ge=0)
    layer_scale: bool
    activation: Literal["gelu", "gelu_tanh"] = "gelu"
    norm_eps: float = 1e-6
    pixel_mean: tuple[float, float, float] = IMAGENET_MEAN
    pixel_std: tuple[float, float, float] = IMAGENET_STD

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "ViTConfig":
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of {self.heads} heads")
        return self

    @property
    def num_prefix_tokens(self) -> int:
        return int(self.class_token) + self.num_registers


class Attention(nn.Module):
    """Multi-head self-attention over all tokens of an image."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.proj = nn.Linear(config.width, config.width)

    def forward(self, x_BND: Tensor) -> Tensor:
        B, N, D = x_BND.shape
        qkv = self.qkv(x_BND)
        q, k, v = qkv.view(B, N, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        return self.proj(attention(q, k, v).transpose(1, 2).reshape(B, N, D))


class FeedForward(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.width, config.mlp_width)
        self.act = nn.GELU(approximate="tanh" if config.activation == "gelu_tanh" else "none")
        self.fc2 = nn.Linear(config.mlp_width, config.width)

    def forward(self, x_BND: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x_BND)))


class LayerScale(nn.Module):
    """A learned factor per channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x_BND: Tensor) -> Tensor:
        return x_BND * self.gamma


class Block(nn.Module):
    """x + scale(adapter(attention(norm x))), then the same with the FFN; adapters act on chosen images only."""

    def __init__(self, config: ViTConfig, adapter_width: int) -> None:
        super().__init__()
        first_token = int(config.class_token)  # registers and patches are adapted, the class token is not
        self.norm1 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.attn = Attention(config)
        self.attn_adapter = RobotAdapter(config.width, adapter_width, first_token)
        self.ls1 = LayerScale(config.width) if config.layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.mlp = FeedForward(config)
        self.mlp_adapter = RobotAdapter(config.width, adapter_width, first_token)
        self.ls2 = LayerScale(config.width) if config.layer_scale else nn.Identity()

    def forward(self, x_BND: Tensor, rows: AdaptedRows) -> Tensor:
        x_BND = x_BND + self.ls1(self.attn_adapter(self.attn(self.norm1(x_BND)), rows))
        return x_BND + self.ls2(self.mlp_adapter(self.mlp(self.norm2(x_BND)), rows))


class PatchEmbedding(nn.Module):
    """Cuts an image into squares and projects each: (B, 3, H, W) → (B, P, D), row by row."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.width, config.patch_size, config.patch_size)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.proj(images_BCHW).flatten(2).transpose(1, 2)


class VisionTransformer(nn.Module):
    """Patch tokens of one block.

    Args:
        config: architecture.
        image_size: side of its square input in pixels, a multiple of the patch size.
        output_block: index of the block that is read; blocks after it never run.
        num_blocks: how many blocks are built; those after `output_block` serve checkpoints only.
        adapter_width: hidden width of the robot-only adapters.
    """

    def __init__(
        self, config: ViTConfig, image_size: int, output_block: int, num_blocks: int, adapter_width: int
    ) -> None:
        super().__init__()
        if image_size % config.patch_size:
            raise ValueError(
                f"image_size {image_size} is not a multiple of the patch size {config.patch_size}"
            )
        if not 0 <= output_block < num_blocks <= config.depth:
            raise ValueError(
                f"need 0 <= output_block {output_block} < {num_blocks} blocks <= depth {config.depth}"
            )
        self.config = config
        self.output_block = output_block
        self.grid = image_size // config.patch_size
        self.patch_embed = PatchEmbedding(config)
        if config.class_token:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
            """Holds its position embedding too, as timm stores it."""
        if config.num_registers:
            self.reg_token = nn.Parameter(torch.zeros(1, config.num_registers, config.width))
        self.pos_embed = nn.Parameter(torch.randn(1, self.grid**2, config.width) * 0.02)
        self.blocks = nn.ModuleList(Block(config, adapter_width) for _ in range(num_blocks))

    def forward(self, images_BCHW: Tensor, rows: AdaptedRows) -> Tensor:
        """Normalized images (B, 3, H, W) → patch tokens (B, P, D) after block `output_block`."""
        x_BND = self.patch_embed(images_BCHW) + self.pos_embed
        prefix = [
            token.expand(len(x_BND), -1, -1)
            for token in (getattr(self, "cls_token", None), getattr(self, "reg_token", None))
            if token is not None
        ]
        x_BND = torch.cat([*prefix, x_BND], dim=1)
        for block in self.blocks[: self.output_block + 1]:
            x_BND = block(x_BND, rows)
        return x_BND[:, self.config.num_prefix_tokens :]
