"""The environment: trials, actions, determinism, verdicts."""

from importlib.metadata import entry_points

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data_schemas.errors import UserError
from harp.evaluation.environment import Environment
from simulation import environment as module
from simulation.content import TASKS
from simulation.environment import HOLD, POSITION_SCALE, ROTATION_SCALE, TabletopEnvironment
from simulation.expert import demonstrate
from simulation.objects import PLATE_HALF, REST_HEIGHT
from simulation.trials import Trial, trials

STILL = np.array([0, 0, 0, 0, 0, 0, 0.4])


@pytest.fixture(scope="module")
def world():
    environment = TabletopEnvironment(size=64)
    yield environment
    environment.close()


def actions(count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, 7))


def states(environment: TabletopEnvironment, trial: Trial, moves: np.ndarray) -> list[np.ndarray]:
    return [environment.reset(trial).qpos, *(environment.step(a)[0].qpos for a in moves)]


def test_same_trial_and_actions_give_same_states_and_pixels(world: TabletopEnvironment) -> None:
    trial, moves = Trial("pick_place", 3), actions(12)
    other = TabletopEnvironment(size=64)
    try:
        expected = states(other, trial, moves)
        seen = other.step(STILL)[0]
        pictures = seen.third_view, seen.wrist
    finally:
        other.close()
    states(world, Trial("flip", 1), moves)  # what happened before must not matter
    np.testing.assert_array_equal(states(world, trial, moves), expected)
    again = world.step(STILL)[0]
    for picture, wanted in zip((again.third_view, again.wrist), pictures, strict=True):
        assert picture.shape == (64, 64, 3)
        assert picture.std() > 10
        np.testing.assert_array_equal(picture, wanted)


def test_looking_changes_nothing_and_shows_the_observed_moment(world: TabletopEnvironment) -> None:
    trial, moves = Trial("push", 2), actions(6)
    blind = states(world, trial, moves)
    first = world.reset(trial)
    early = first.third_view.copy()
    seen = [first.qpos]
    for action in moves:
        observation = world.step(action)[0]
        assert observation.wrist.any()
        seen.append(observation.qpos)
    np.testing.assert_array_equal(seen, blind)
    np.testing.assert_array_equal(world.render(first, module.CAMERA), early)
    world.reset(Trial("push", 3))
    with pytest.raises(RuntimeError, match="earlier trial"):
        world.render(first, module.CAMERA)


def test_trials_do_not_depend_on_how_many_are_asked_for() -> None:
    assert trials("flip", 60)[:5] == trials("flip", 5)
    contents = [t.content() for task in TASKS for t in trials(task)]
    assert len(contents) == 240
    assert [c.task for c in contents[::60]] == list(TASKS)
    places = {tuple(np.concatenate(list(c.positions.values())).round(6)) for c in contents}
    places |= {
        tuple(np.concatenate(list(Trial(t, i, 0, "demonstrations").content().positions.values())).round(6))
        for t in TASKS
        for i in range(60)
    }
    assert len(places) == 480


def test_actions_displace_and_turn_the_tool(world: TabletopEnvironment) -> None:
    before = world.reset(Trial("press", 0)).proprioception
    move = np.array([0.5, -0.5, 0.3, 0, 0.6, 0, 1])
    for _ in range(4):
        world.step(move)
    for _ in range(5):
        after = world.step(np.array([0, 0, 0, 0, 0, 0, 1]))[0].proprioception
    np.testing.assert_allclose(after[:3] - before[:3], 4 * POSITION_SCALE * move[:3], atol=0.003)
    np.testing.assert_allclose(after[3:6], 4 * ROTATION_SCALE * move[3:6], atol=0.01)
    assert after[6] == pytest.approx(world.arm.max_opening, abs=0.002)
    turned = Rotation.from_rotvec(after[3:6]) * Rotation.from_matrix(world.arm.assets.down)
    np.testing.assert_allclose(turned.as_matrix(), world.arm.rotation(), atol=1e-9)


def test_commanded_pose_stays_near_the_measured_one(world: TabletopEnvironment) -> None:
    world.reset(Trial("press", 0))
    for _ in range(25):
        world.step(np.array([0, 0, -1, 0, 0, 0, -1]))
    assert world.position[2] == pytest.approx(0.009)
    for _ in range(3):
        world.step(np.array([0, 0, 1, 0, 0, 0, -1]))
    assert world.arm.tool()[2] > 0.04


def test_success_needs_the_object_at_rest_on_its_target(world: TabletopEnvironment) -> None:
    trial = next(t for t in trials("pick_place") if t.content().target == "plate")
    world.reset(trial)
    content, data, model = world.content, world.arm.data, world.arm.model
    address = model.jnt_qposadr[model.body(content.object).jntadr[0]]
    height = 2 * PLATE_HALF + REST_HEIGHT[content.object] + 0.001
    data.qpos[address : address + 3] = [*content.positions["plate"], height]
    results = [world.step(STILL) for _ in range(HOLD)]
    assert [done for _, done, _ in results] == [False] * (HOLD - 1) + [True]
    assert results[-1][2]
    with pytest.raises(UserError, match="call reset"):
        world.step(STILL)


def test_disturbing_another_object_is_no_success(world: TabletopEnvironment) -> None:
    trial = Trial("pick_place", 0)
    world.reset(trial)
    content, data, model = world.content, world.arm.data, world.arm.model
    for name, place in ((content.object, content.positions[content.target]), ("cup", np.array([-0.3, -0.3]))):
        address = model.jnt_qposadr[model.body(name).jntadr[0]]
        data.qpos[address : address + 2] = place
        data.qpos[address + 2] = REST_HEIGHT[name] + 0.014
    assert not any(world.step(STILL)[2] for _ in range(8))


def test_idle_robot_fails_at_the_limit(world: TabletopEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EPISODE_LIMIT", 6)
    for task in TASKS:
        world.reset(Trial(task, 4))
        results = [world.step(STILL)[1:] for _ in range(6)]
        assert results == [(False, False)] * 5 + [(True, False)]


@pytest.mark.parametrize("task", TASKS)
def test_expert_succeeds_by_contact(world: TabletopEnvironment, task: str) -> None:
    assert demonstrate(world, Trial(task, 0))


@pytest.mark.parametrize("action", [np.zeros(6), np.full(7, np.nan), np.zeros((1, 7))])
def test_bad_actions_are_refused(world: TabletopEnvironment, action: np.ndarray) -> None:
    world.reset(Trial("press", 0))
    with pytest.raises(UserError, match="expected 7 finite numbers"):
        world.step(action)


def test_unknown_task_is_refused() -> None:
    with pytest.raises(UserError, match="choose one of pick_place"):
        Trial("pour", 0)


def test_evaluation_finds_the_environment_by_name() -> None:
    (entry,) = entry_points(group="harp.environments", name="tabletop")
    environment: Environment[Trial] = entry.load()(size=64)
    observation = environment.reset(environment.trials("press", 1)[0])
    assert observation.proprioception.shape == (len(environment.interface.proprioception),)
    assert observation.instruction.startswith("press the")
    environment.close()
