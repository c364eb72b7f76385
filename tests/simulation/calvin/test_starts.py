"""Start states: the hash against pyhash's own values, places against the constants of the benchmark."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from simulation.calvin.chains import initial_conditions
from simulation.calvin.data import CalvinData
from simulation.calvin.starts import APART, benchmark_start, condition_start, draw_start, fnv1_32


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a", 1627429043),
        ("open the drawer", 4251955654),
        ("dict_values([0, 0, 'right', 'closed', 'table', 'table', 'slider_right', 0])", 432992106),
        ("dict_values([1, 1, 'left', 'open', 'slider_left', 'slider_right', 'table', 0])", 210305892),
    ],
)
def test_hash_equals_pyhash(text: str, value: int):
    """The values are those of the package pyhash2 0.9.4."""
    assert fnv1_32(text) == value


def test_every_start_says_what_its_condition_says():
    for condition in initial_conditions():
        robot, scene = benchmark_start(condition)
        assert robot.shape == (15,)
        assert (scene[0] > 0.2) == (condition["slider"] == "left")
        assert (scene[1] > 0.2) == (condition["drawer"] == "open")
        assert (scene[3] > 0.04) == bool(scene[4]) == bool(condition["lightbulb"])
        assert scene[5] == condition["led"]
        poses = scene[6:].reshape(3, 6)
        for color, pose in zip(("red", "blue", "pink"), poses, strict=True):
            place = condition[f"{color}_block"]
            assert (pose[1] < 0) == (place == "table")
            if place != "table":
                assert (pose[0] < 0) == (place == "slider_left")
            assert abs(pose[5] - np.pi / 2) <= np.pi / 8
        assert all(np.linalg.norm(a[:3] - b[:3]) > 0.1 for a, b in combinations(poses, 2))
        assert np.array_equal(scene, benchmark_start(dict(condition))[1])


def test_drawn_starts_lie_apart_on_the_scene_s_surfaces(made_up_data: Path):
    settings = CalvinData.open(made_up_data).scene("D")
    random = np.random.default_rng(0)
    starts = [draw_start(settings, random) for _ in range(50)]
    for start in starts:
        positions = start[6:].reshape(3, 6)[:, :3]
        assert all(np.linalg.norm(a - b) > APART for a, b in combinations(positions, 2))
        for position in positions:
            assert any(
                (low <= position).all() and (position <= high).all()
                for low, high in settings.surfaces.values()
            )
    assert len({start[4:6].tobytes() for start in starts}) == 4


def test_a_condition_can_be_had_in_any_scene(made_up_data: Path):
    settings = CalvinData.open(made_up_data).scene("D")
    random = np.random.default_rng(1)
    for condition in initial_conditions()[::7]:
        scene = condition_start(settings, condition, random)
        assert (scene[0] > 0.2) == (condition["slider"] == "left")
        assert (scene[1] > 0.2) == (condition["drawer"] == "open")
        assert list(scene[4:6]) == [condition["lightbulb"], condition["led"]]
        for name, pose in zip(settings.blocks, scene[6:].reshape(3, 6), strict=True):
            low, high = settings.surfaces[str(condition[f"{name.removeprefix('block_')}_block"])]
            assert (low <= pose[:3]).all()
            assert (pose[:3] <= high).all()
