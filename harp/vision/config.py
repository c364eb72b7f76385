"""Configuration of the vision encoder: which backbones, read where, adapted how wide."""

from typing import Annotated

from pydantic import Discriminator, Field, Tag, model_validator

from data_schemas.strict_model import StrictModel
from harp.vision.vit import ViTConfig

_SIGLIP_PIXELS = (0.5, 0.5, 0.5)

# SigLIP was trained with the tanh form of GELU, and transformers has it; timm 0.9.10, by which Prismatic, OpenVLA and the
# authors run it, has the exact one. The two differ by less than 5e-4 an activation.

ARCHITECTURES = {
    "dinov2-s14": ViTConfig(
        width=384, depth=12, heads=6, mlp_width=1536, position_grid=37, class_token=True, layer_scale=True
    ),
    "dinov2-l14-reg4": ViTConfig(
        width=1024,
        depth=24,
        heads=16,
        mlp_width=4096,
        position_grid=37,
        position_antialias=True,
        class_token=True,
        num_registers=4,
        layer_scale=True,
    ),
    "siglip-so400m-14": ViTConfig(
        width=1152,
        depth=27,
        heads=16,
        mlp_width=4304,
        position_grid=16,
        position_antialias=True,
        class_token=False,
        layer_scale=False,
        activation="gelu_tanh",
        pixel_mean=_SIGLIP_PIXELS,
        pixel_std=_SIGLIP_PIXELS,
    ),
}


Architecture = Annotated[
    Annotated[str, Tag("name")] | Annotated[ViTConfig, Tag("sizes")],
    Discriminator(lambda value: "name" if isinstance(value, str) else "sizes"),
]
"""A name of `ARCHITECTURES`, or sizes of one's own; told apart first, so that a mistake in sizes is not called no name."""


class BackboneConfig(StrictModel):
    """One ViT of the encoder."""

    architecture: Architecture
    weights: str | None = None
    """A model of `harp weights list`, or a safetensors file or folder; none means random."""
    output_block: int | None = None
    """Block whose patch tokens are the features; the second-to-last by default."""
    adapter_reduction: int = Field(default=16, gt=0)
    """Width of the ViT over width of its adapters' bottleneck."""
    trim: bool = True
    """Leave out the blocks after `output_block`, which never run; false keeps the published checkpoint layout."""

    @model_validator(mode="after")
    def _known(self) -> "BackboneConfig":
        if isinstance(self.architecture, str) and self.architecture not in ARCHITECTURES:
            raise ValueError(
                f"unknown architecture {self.architecture!r}; known are {', '.join(ARCHITECTURES)}"
            )
        if not 0 <= self.block < self.vit.depth:
            raise ValueError(f"output_block {self.block} is not among blocks 0 to {self.vit.depth - 1}")
        return self

    @property
    def vit(self) -> ViTConfig:
        return ARCHITECTURES[self.architecture] if isinstance(self.architecture, str) else self.architecture

    @property
    def block(self) -> int:
        return self.vit.depth - 2 if self.output_block is None else self.output_block

    @property
    def num_blocks(self) -> int:
        return self.block + 1 if self.trim else self.vit.depth


class VisionConfig(StrictModel):
    """The fused encoder: patch tokens of its backbones, concatenated in order."""

    backbones: tuple[BackboneConfig, ...] = Field(min_length=1)
    image_size: int = Field(gt=0)
    """Side of the square input, in pixels."""

    @model_validator(mode="after")
    def _one_grid(self) -> "VisionConfig":
        patch_sizes = {backbone.vit.patch_size for backbone in self.backbones}
        if len(patch_sizes) > 1:
            raise ValueError(f"backbones must share one patch size, found {sorted(patch_sizes)}")
        if self.image_size % next(iter(patch_sizes)):
            raise ValueError(
                f"image_size {self.image_size} is not a multiple of the patch size {patch_sizes}"
            )
        return self

    @property
    def dim(self) -> int:
        return sum(backbone.vit.width for backbone in self.backbones)

    @property
    def num_patches(self) -> int:
        return (self.image_size // self.backbones[0].vit.patch_size) ** 2


LAPTOP = VisionConfig(
    backbones=(BackboneConfig(architecture="dinov2-s14", weights="dinov2-s14-imgfocus", output_block=8),),
    image_size=112,
)
"""Small: 64 patches of 384 numbers. On hand-versus-not patches block 8 separates best, by a hair over 9."""

PAPER = VisionConfig(
    backbones=(
        BackboneConfig(architecture="dinov2-l14-reg4", adapter_reduction=16, trim=False),
        BackboneConfig(architecture="siglip-so400m-14", adapter_reduction=32, trim=False),
    ),
    image_size=224,
)
"""The paper's sizes (A.3): 256 patches of 1024 + 1152 numbers, 10.89 M adapter parameters."""
