"""Pictures made smaller: means of areas, never enlarged, never empty."""

import numpy as np

from pipelines.video.shrink import shrunk


def test_a_pixel_is_the_mean_of_its_area() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    small, scale = shrunk(image, 30)
    assert scale == 1 / 3
    np.testing.assert_allclose(small, image.reshape(20, 3, 30, 3, 3).mean(axis=(1, 3)), atol=0.51)


def test_a_small_image_stays_as_it_is() -> None:
    image = np.zeros((10, 20), np.uint8)
    assert shrunk(image, 20) == (image, 1.0)


def test_a_thin_image_keeps_a_pixel() -> None:
    assert shrunk(np.zeros((1, 900), np.uint8), 90)[0].shape == (1, 90)
