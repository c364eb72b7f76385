"""HARP-VE: frozen ViTs with robot-only adapters, fused by concatenating their patch tokens (paper 3.1, A.3).

`F(x)`, the frozen path, sees human images; `T_θ(x)`, the adapted one, sees robot images. A mixed batch runs once and
the adapters touch its robot rows only. The frozen path is bit-equal to the encoder before training, at equal batch
shape (matrix products may round differently in batches of another size).
"""

from collections.abc import Iterator, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from data_schemas.errors import UserError
from harp.vision.adapter import AdaptedRows, adapted_rows
from harp.vision.checkpoints import load_weights
from harp.vision.config import VisionConfig
from harp.vision.preprocess import normalize, resize
from harp.vision.vit import VisionTransformer


class HarpVisionEncoder(nn.Module):
    """Patch tokens of frames, with or without the robot-only adapters.

    Args:
        config: sizes; weights are random until `load_vision_encoder` reads them.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.backbones = nn.ModuleList(
            VisionTransformer(
                backbone.vit,
                config.image_size,
                backbone.block,
                backbone.num_blocks,
                adapter_width=max(1, backbone.vit.width // backbone.adapter_reduction),
            )
            for backbone in config.backbones
        )
        for name, parameter in self.named_parameters():
            parameter.requires_grad_("_adapter." in name)

    @property
    def dim(self) -> int:
        """Width of a patch token."""
        return self.config.dim

    @property
    def num_patches(self) -> int:
        return self.config.num_patches

    def preprocess(self, frames_BHWC: Tensor) -> Tensor:
        """uint8 RGB frames (B, H, W, 3) → normalized images (B, 3·backbones, S, S), three channels per backbone."""
        images = resize(frames_BHWC, self.config.image_size)
        vits = [backbone.vit for backbone in self.config.backbones]
        return torch.cat([normalize(images, vit.pixel_mean, vit.pixel_std) for vit in vits], dim=1)

    def patch_tokens(self, images_BCHW: Tensor, adapted_B: Tensor) -> Tensor:
        """Features of a batch in which some images are adapted, in one pass.

        A training step that can tell its rows apart beforehand does better with `frozen` on human and `adapted` on
        robot images: no backward runs through human rows, which saves a third of a step at equal shares.

        Args:
            images_BCHW: from `preprocess`.
            adapted_B: bool, true for robot images.

        Returns:
            (B, P, D), patches row by row.
        """
        return self._tokens(images_BCHW, adapted_rows(adapted_B))

    @torch.no_grad()
    def frozen(self, images_BCHW: Tensor) -> Tensor:
        """`F(x)`: features (B, P, D) without adapters and without gradient."""
        return self._tokens(images_BCHW, None)

    def adapted(self, images_BCHW: Tensor) -> Tensor:
        """`T_θ(x)`: features (B, P, D) with the adapters on for every image."""
        return self._tokens(images_BCHW, slice(None))

    def _tokens(self, images_BCHW: Tensor, rows: AdaptedRows) -> Tensor:
        parts = images_BCHW.split(3, dim=1)
        return torch.cat([vit(part, rows) for vit, part in zip(self.backbones, parts, strict=True)], dim=-1)

    def trainable_parameters(self) -> Iterator[nn.Parameter]:
        """Adapters of the blocks that run; those of blocks after the output block would never get a gradient."""
        for vit in self.backbones:
            for block in cast(VisionTransformer, vit).blocks[: cast(VisionTransformer, vit).output_block + 1]:
                yield from (parameter for parameter in block.parameters() if parameter.requires_grad)

    def adapter_state_dict(self) -> dict[str, Tensor]:
        """All that training changes: `backbones.I.blocks.N.{attn,mlp}_adapter.{down,up}.{weight,bias}`."""
        return {name: tensor for name, tensor in self.state_dict().items() if "_adapter." in name}

    def load_adapter_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Set the adapters.

        Raises:
            UserError: names or shapes other than this encoder's.
        """
        own = self.adapter_state_dict()
        wrong = [
            name
            for name in own.keys() | state.keys()
            if name not in own or name not in state or own[name].shape != state[name].shape
        ]
        if wrong:
            raise UserError(
                f"Adapters do not fit the configured encoder: {len(wrong)} of {len(own)} differ in name or shape, "
                f"e.g. {min(wrong)}; use the configuration they were trained with."
            )
        self.load_state_dict(dict(state), strict=False)


def load_vision_encoder(config: VisionConfig) -> HarpVisionEncoder:
    """The encoder with pretrained weights, fetched if need be, and adapters at the identity.

    Raises:
        UserError: weights that cannot be had or do not fit.
    """
    encoder = HarpVisionEncoder(config)
    for vit, backbone in zip(encoder.backbones, config.backbones, strict=True):
        if backbone.weights:
            load_weights(cast(VisionTransformer, vit), backbone.weights)
    return encoder
