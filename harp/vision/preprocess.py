"""Frames to the input of a ViT, the one place where pixels are resized and normalized."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def resize(frames_BHWC: Tensor, size: int) -> Tensor:
    """uint8 RGB frames (B, H, W, 3) → float (B, 3, size, size) in 0..1 by antialiased bicubic interpolation.

    Each side is scaled by itself: a frame that is not square is squeezed, as OpenVLA's processor does, so that
    nothing at the borders is lost.
    """
    if frames_BHWC.dtype != torch.uint8 or frames_BHWC.ndim != 4 or frames_BHWC.shape[-1] != 3:
        raise ValueError(
            f"expected uint8 frames (B, H, W, 3), found {frames_BHWC.dtype} {tuple(frames_BHWC.shape)}"
        )
    images_BCHW = frames_BHWC.permute(0, 3, 1, 2).float() / 255
    if images_BCHW.shape[-2:] != (size, size):
        images_BCHW = nn.functional.interpolate(
            images_BCHW, size=(size, size), mode="bicubic", antialias=True
        ).clamp(0, 1)
    return images_BCHW


def normalize(images_BCHW: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(x − mean) / std per channel."""
    mean_C11, std_C11 = (images_BCHW.new_tensor(value).view(3, 1, 1) for value in (mean, std))
    return (images_BCHW - mean_C11) / std_C11
