import numpy as np
import pytest
import torch

from data_schemas.errors import BadInput
from harp.policy.config import ImageConfig
from harp.policy.images import camera_image
from harp.vision.preprocess import resize

AUTHORS = ImageConfig(jpeg=True, lanczos=True, crop_area=0.9)


def photo(height: int = 48, width: int = 64) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = [127 + 100 * np.sin(x / 9 + c) * np.cos(y / 7 - c) for c in range(3)]
    return np.stack(waves, axis=-1).astype(np.uint8)


def test_nothing_is_done_by_default():
    assert np.array_equal(camera_image(photo(), ImageConfig(), 28).numpy(), photo())


def test_crop_samples_where_tensorflows_crop_and_resize_does():
    """Pixel by pixel: the box's corners fall on the output's corners, bilinear between."""
    image, size = photo(28, 28), 28
    found = camera_image(image, ImageConfig(crop_area=0.9), size).numpy().astype(int)
    side = np.sqrt(0.9)
    for i, j in [(0, 0), (0, 27), (27, 27), (13, 5), (20, 22)]:
        y, x = (((1 - side) / 2 + side * k / (size - 1)) * (28 - 1) for k in (i, j))
        top, left = int(y), int(x)
        weights = np.outer([1 - (y - top), y - top], [1 - (x - left), x - left])
        expected = (image[top : top + 2, left : left + 2] * weights[..., None]).sum((0, 1)) / 255 * 255.5
        assert np.abs(found[i, j] - np.floor(expected)).max() <= 1


def test_a_larger_picture_is_cropped_at_its_own_resolution():
    """The encoder's antialiased resizing follows; sampling at the model's size would leave a chequerboard as it is."""
    board = np.repeat((255 * (np.indices((96, 128)).sum(0) % 2))[..., None], 3, axis=-1).astype(np.uint8)
    found = camera_image(board, ImageConfig(crop_area=0.81), 28)
    assert found.shape == (86, 115, 3)
    assert resize(found[None], 28).std() < 0.05
    picture = photo(96, 128)
    centre = torch.from_numpy(picture[5:91, 6:121])
    difference = resize(camera_image(picture, ImageConfig(crop_area=0.81), 28)[None], 28) - resize(
        centre[None], 28
    )
    assert difference.abs().max() < 0.03


def test_lanczos_equals_its_definition():
    """Antialiased Lanczos with three lobes by sums over the row, weights normalized."""
    image = photo(40, 60)
    found = camera_image(image, ImageConfig(lanczos=True), 28).numpy().astype(float)

    def matrix(source: int) -> np.ndarray:
        scale = source / 28
        centres = (np.arange(28) + 0.5) * scale
        distance = (np.arange(source) + 0.5 - centres[:, None]) / max(scale, 1)
        weights = np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0)
        return weights / weights.sum(1, keepdims=True)

    expected = np.einsum("yh,hwc,xw->yxc", matrix(40), image.astype(float), matrix(60))
    assert np.abs(found - np.clip(np.round(expected), 0, 255)).max() <= 1
    assert (found == np.clip(np.round(expected), 0, 255)).mean() > 0.99


def test_authors_path_changes_little_but_the_border():
    out = camera_image(photo(28, 28), AUTHORS, 28)
    assert out.shape == (28, 28, 3)
    assert out.dtype == torch.uint8
    centre = slice(12, 16)
    difference = out[centre, centre].int() - torch.from_numpy(photo(28, 28)[centre, centre]).int()
    assert difference.abs().float().mean() < 8


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_no_image_is_named(bad):
    with pytest.raises(BadInput, match="bad_image"):
        camera_image(bad, ImageConfig(), 28)
