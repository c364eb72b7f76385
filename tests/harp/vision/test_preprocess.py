"""Resizing against Pillow's antialiased bicubic, normalization against its definition."""

import numpy as np
import pytest
import torch
from PIL import Image

from harp.vision.preprocess import normalize, resize


@pytest.mark.parametrize(("height", "width", "size"), [(480, 640, 112), (224, 224, 112), (60, 90, 224)])
def test_resize_equals_pillow(height: int, width: int, size: int) -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    frame = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    expected = np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.BICUBIC)).astype(
        np.float32
    )
    ours = resize(torch.from_numpy(frame.copy())[None], size)[0].permute(1, 2, 0).numpy() * 255
    assert ours.shape == (size, size, 3)
    assert np.abs(ours - expected).max() < 1.5  # Pillow rounds to integers twice, once per direction


def test_frames_of_the_right_size_are_untouched() -> None:
    frames = torch.randint(0, 256, (2, 28, 28, 3), dtype=torch.uint8)
    assert torch.equal((resize(frames, 28) * 255).round().byte().permute(0, 2, 3, 1), frames)


def test_normalize() -> None:
    images = torch.tensor([0.5, 0.25, 1.0]).view(1, 3, 1, 1)
    normalized = normalize(images, (0.5, 0.5, 0.5), (0.5, 0.25, 0.1))
    torch.testing.assert_close(normalized.flatten(), torch.tensor([0.0, -1.0, 5.0]))


@pytest.mark.parametrize("frames", [torch.zeros(2, 28, 28, 3), torch.zeros(2, 3, 28, 28, dtype=torch.uint8)])
def test_other_layouts_are_refused(frames: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 frames \(B, H, W, 3\), found"):
        resize(frames, 28)
