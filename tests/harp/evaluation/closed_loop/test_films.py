"""Films show both cameras and, at the end, the verdict."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from harp.evaluation.closed_loop.films import (
    LINGER,
    MAX_FRAMES,
    contact_sheet,
    film,
    film_rollout,
    write_film,
)
from simulation.environment import TabletopEnvironment
from simulation.trials import Trial
from tests.harp.evaluation.closed_loop.toy_world import ToyObservation


def test_films_show_both_cameras_and_the_verdict(tmp_path: Path) -> None:
    environment = TabletopEnvironment(size=64)
    observations: list[Any] = [environment.reset(Trial("press", 0)), environment.step(np.zeros(7))[0]]
    frames = film(observations, success=True)
    environment.close()
    assert frames.shape == (3, 86, 128, 3)
    np.testing.assert_array_equal(frames[0, 22:, :64], observations[0].third_view)
    np.testing.assert_array_equal(frames[1, 22:, 64:], observations[1].wrist)
    write_film(tmp_path / "film.mp4", frames, rate=10)
    with av.open(str(tmp_path / "film.mp4")) as video:
        shown = [f.to_ndarray(format="rgb24") for f in video.decode(video=0)]
    assert len(shown) == 3 + LINGER
    red, green = shown[-1][10, 3, :2].astype(int)
    assert green > red + 60
    assert abs(int(shown[0][10, 3, 0]) - int(shown[0][10, 3, 1])) < 20
    assert [file.name for file in tmp_path.iterdir()] == ["film.mp4"]


def test_a_long_rollout_is_filmed_in_real_time_with_fewer_frames(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [np.full((16, 16, 3), shade, np.uint8) for shade in rng.integers(0, 255, 2 * MAX_FRAMES + 1)]
    observations = [ToyObservation(np.zeros(5), each, each) for each in pictures]
    film_rollout(tmp_path / "film.mp4", observations, success=False, rate=10.0)
    with av.open(str(tmp_path / "film.mp4")) as video:
        stream = video.streams.video[0]
        assert stream.average_rate is not None
        rate = float(stream.average_rate)
        shown = [f.to_ndarray(format="rgb24") for f in video.decode(video=0)]
    assert rate == pytest.approx(10 / 3, abs=0.01)
    assert len(shown) == len(observations[::3]) + 1 + LINGER
    assert abs(int(shown[-1][30, 8, 0]) - int(pictures[-1][0, 0, 0])) < 8


def test_a_contact_sheet_has_a_column_a_film(tmp_path: Path) -> None:
    films = [np.full((5, 20, 30, 3), 60 * (i + 1), np.uint8) for i in range(2)]
    contact_sheet(films, tmp_path / "sheet.png", stills=3)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (3 * 24, 2 * 34, 3)
    assert (sheet[10, 10, 0], sheet[10, 40, 0]) == (60, 120)
