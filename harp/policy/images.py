"""Camera images as the policy was trained on them.

The authors' path at evaluation: JPEG of quality 95, antialiased Lanczos to the model's size, centre crop of 0.9 of
the area, bilinear back to size; then normalization per backbone. They run it in TensorFlow. Here Pillow does JPEG and
Lanczos (in float, rounded once, as TensorFlow does) and torch the crop, at TensorFlow's sampling points
(`crop_and_resize`: corners of the box on corners of the output). What may differ is the JPEG decoder's inverse
transform, by one or two grey levels per pixel. By default none of this is done and the encoder resizes; a crop without
Lanczos keeps the camera's resolution, so that the encoder resizes it as it resized the random crops of training.
"""

import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from data_schemas.errors import BadInput
from harp.policy.config import ImageConfig

JPEG_QUALITY = 95


def camera_image(image_HWC: NDArray[np.uint8], config: ImageConfig, size: int) -> Tensor:
    """An image as the encoder's `preprocess` takes it: uint8 RGB (H', W', 3).

    Args:
        image_HWC: uint8 RGB of any size.
        size: side of the encoder's input.

    Raises:
        BadInput: another shape or type.
    """
    if image_HWC.dtype != np.uint8 or image_HWC.ndim != 3 or image_HWC.shape[-1] != 3 or not image_HWC.size:
        raise BadInput(
            "bad_image", f"expected a uint8 RGB image (H, W, 3), found {image_HWC.dtype} {image_HWC.shape}."
        )
    image = image_HWC
    if config.jpeg:
        image = _through_jpeg(image)
    if config.lanczos and image.shape[:2] != (size, size):
        image = _lanczos(image, size)
    tensor = torch.tensor(image)
    if config.crop_area == 1:
        return tensor
    side = config.crop_area**0.5
    fits = image.shape[:2] == (size, size)
    height, width = (size, size) if fits else (round(side * length) for length in image.shape[:2])
    return _centre_crop(tensor, side, max(1, height), max(1, width))


def _through_jpeg(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling="4:2:0")
    return np.asarray(Image.open(buffer))


def _lanczos(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    channels = [Image.fromarray(image[..., c].astype(np.float32)) for c in range(3)]
    resized = [np.asarray(channel.resize((size, size), Image.Resampling.LANCZOS)) for channel in channels]
    return np.clip(np.round(np.stack(resized, axis=-1)), 0, 255).astype(np.uint8)


def _centre_crop(image_HWC: Tensor, side: float, height: int, width: int) -> Tensor:
    x, y = (torch.linspace(-side, side, length) for length in (width, height))
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]
    pixels = image_HWC.permute(2, 0, 1)[None].float() / 255
    cropped = torch.nn.functional.grid_sample(pixels, grid, mode="bilinear", align_corners=True)
    return (
        (cropped[0].permute(1, 2, 0) * 255.5).clamp(0, 255).to(torch.uint8)
    )  # 255.5: TensorFlow's conversion
