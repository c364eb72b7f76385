"""Friction alone holds an object, and only while the gripper is closed."""

import mujoco
import numpy as np
import pytest

from data_schemas.errors import UserError
from simulation.contact_arm import ROBOTS, ContactArm
from simulation.objects import GRASP_WIDTH, REST_HEIGHT

X, Y = 0.1, 0.02
LIFT = np.array([0.0, 0.0, 0.12])


@pytest.fixture(scope="module", params=list(ROBOTS))
def arm(request: pytest.FixtureRequest) -> ContactArm:
    try:
        return ContactArm(request.param)
    except UserError as error:
        pytest.skip(str(error))


def grip(arm: ContactArm, thing: str) -> np.ndarray:
    """Put an object between the open fingers and close them; returns the tool point."""
    mujoco.mj_resetData(arm.model, arm.data)
    # A cup stands higher than the Panda's fingers are long.
    tool = np.array([X, Y, REST_HEIGHT[thing] + (0.025 if thing == "cup" else 0.002)])
    address = arm.model.jnt_qposadr[arm.model.body(thing).jntadr[0]]
    arm.data.qpos[address : address + 3] = [X, Y, REST_HEIGHT[thing]]
    arm.place(tool, arm.assets.down, arm.max_opening)
    arm.move(tool, arm.assets.down, 0.0, 1.0)
    return tool


def lift(arm: ContactArm, tool: np.ndarray) -> None:
    for i in range(1, 11):
        arm.move(tool + LIFT * i / 10, arm.assets.down, 0.0, 0.1)


def test_nothing_ties_objects_to_the_robot(arm: ContactArm) -> None:
    assert set(arm.model.eq_type.tolist()) == {mujoco.mjtEq.mjEQ_JOINT.value}
    robot = {arm.model.joint(j).id for j in range(arm.model.njnt) if "robot_" in arm.model.joint(j).name}
    assert set(arm.model.eq_obj1id.tolist()) | set(arm.model.eq_obj2id.tolist()) <= robot


@pytest.mark.parametrize("thing", ["block", "cylinder", "cup"])
def test_object_follows_the_closed_gripper_and_falls_when_it_opens(arm: ContactArm, thing: str) -> None:
    tool = grip(arm, thing)
    assert arm.pads_touching(thing) == 2
    assert abs(arm.opening() - GRASP_WIDTH[thing]) < 0.007
    before = arm.data.body(thing).xpos - arm.tool()
    lift(arm, tool)
    arm.move(tool + LIFT, arm.assets.down, 0.0, 2.0)
    assert np.linalg.norm(arm.data.body(thing).xpos - arm.tool() - before) < 0.003
    assert arm.data.body(thing).xpos[2] > REST_HEIGHT[thing] + 0.11
    for seconds in (0.2, 0.6):
        arm.move(tool + LIFT, arm.assets.down, arm.max_opening, seconds)
    assert arm.pads_touching(thing) == 0
    assert arm.data.body(thing).xpos[2] < 0.06


def test_without_friction_the_object_stays_behind(arm: ContactArm) -> None:
    pads = [arm.model.geom(f"pad_{k}").id for k in range(2)]
    friction = arm.model.geom_friction[pads].copy()
    try:
        arm.model.geom_friction[pads] = 1e-5
        lift(arm, grip(arm, "block"))
        assert arm.data.body("block").xpos[2] < REST_HEIGHT["block"] + 0.01
    finally:
        arm.model.geom_friction[pads] = friction


def test_table_stops_the_fingers(arm: ContactArm) -> None:
    mujoco.mj_resetData(arm.model, arm.data)
    arm.place(np.array([X, Y, 0.05]), arm.assets.down, 0.0)
    arm.move(np.array([X, Y, -0.03]), arm.assets.down, 0.0, 1.0)
    assert arm.tool()[2] > arm.assets.closed_tip - 0.0055


def test_unknown_robot_is_refused() -> None:
    with pytest.raises(UserError, match="choose one of xarm7_gripper"):
        ContactArm("ur5e")
