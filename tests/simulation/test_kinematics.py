"""The arm and the hand reach what the plans ask for."""

import numpy as np
import pytest

from data_schemas.errors import UserError
from simulation.gl import require_headless
from simulation.hand_postures import APERTURES, PINCH_AXIS, load_pinches
from simulation.hand_shape import load_hands
from simulation.robot import robot


def test_inverse_kinematics_reaches_the_work_area() -> None:
    body = robot("xarm7_gripper")
    down = body.rotation("grasp")
    assert abs(down @ [0, 0, 1] - [0, 0, -1]).max() < 1e-9
    for x in (0.0, 0.26):
        for y in (-0.2, 0.2):
            position = np.array([x, y, 0.03]) - down @ body.tool("pinch")
            body.place(position, down, body.fingers("pinch", 0.05))
            assert np.linalg.norm(body.tcp() - [x, y, 0.03]) < 0.004
    assert abs(body.aperture() - 0.05) < 0.004


@pytest.mark.parametrize("name", sorted(load_hands()))
def test_pinch_tables_give_the_aperture_along_the_pinch_axis(name: str) -> None:
    hand = load_hands()[name]
    np.testing.assert_allclose(hand.weights.sum(1), 1, atol=1e-6)
    for aperture, angles in zip(APERTURES, load_pinches()[name], strict=True):
        tips = hand.tips(angles)
        np.testing.assert_allclose(tips["index"] - tips["thumb"], aperture * PINCH_AXIS, atol=0.003)


def test_missing_graphics_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "")
    with pytest.raises(UserError, match="apt-get install"):
        require_headless()
