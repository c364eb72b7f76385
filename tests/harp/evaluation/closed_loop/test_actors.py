"""A policy acts on what the observation shows; the references do what their names say."""

import json
import pickle
import shutil
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
import torch

from data_schemas.errors import UserError
from harp.evaluation.closed_loop import actors
from harp.evaluation.closed_loop.actors import (
    NoopActor,
    PolicyActor,
    actor_identity,
    environment_factory,
    load_actor,
)
from harp.evaluation.closed_loop.evaluate import evaluate_closed_loop
from harp.evaluation.closed_loop.rollout import roll_out
from harp.policy.action_policy import build_action_policy
from harp.policy.checkpoints import write_policy
from harp.policy.config import ActionConfig
from harp.policy.normalization import Normalization, Statistics
from harp.policy.predict import Predictor
from harp.policy.tokenizer import load_tokenizer
from simulation.trials import Trial
from tests.harp.evaluation.closed_loop.toy_world import TOY_INTERFACE, ToyTrial, ToyWorld
from tests.harp.policy.tiny_policy import ACTION, tiny_vla


def write_toy_policy(folder: Path, action: ActionConfig, cameras: int = 1) -> Path:
    vla = tiny_vla(action=action, cameras=cameras)
    policy = build_action_policy(vla)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    statistics = Normalization(
        Statistics.of(rng.normal(size=(50, 4)), None), Statistics.of(rng.normal(size=(50, 5)), None)
    )
    write_policy(policy.eval(), load_tokenizer(vla.policy_config), folder, {"toy": statistics})
    return folder


@pytest.fixture(scope="module", params=[1, 2], ids=["one camera", "two cameras"])
def policy_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_policy(tmp_path_factory.mktemp("run") / "policy", ACTION, request.param)


def test_a_rollout_carries_out_the_chunks_that_the_policy_predicts(
    policy_folder: Path, tmp_path: Path
) -> None:
    world = ToyWorld(tmp_path / "diary")
    actor = load_actor(str(policy_folder.parent), "toy")
    rollout = roll_out(world, ToyTrial("wait", 1), actor)
    assert (rollout.steps, rollout.looks, rollout.success) == (6, 2, False)
    predictor = Predictor.load(policy_folder)
    cameras = predictor.policy.vla.policy_config.cameras
    for look in (0, 3):
        seen = rollout.observations[look]
        views = [seen.third_view, seen.wrist][:cameras]
        expected = predictor.act(views, seen.instruction, seen.proprioception)
        np.testing.assert_allclose(np.array(world.actions[look : look + 3]), expected, atol=1e-6)
    assert len({tuple(action) for action in world.actions}) == 6


def test_replanning_looks_more_often(policy_folder: Path, tmp_path: Path) -> None:
    world = ToyWorld(tmp_path / "diary")
    predictor = Predictor.load(policy_folder)
    rollout = roll_out(world, ToyTrial("wait", 1), PolicyActor(predictor, replan=2))
    assert rollout.looks == 3
    with pytest.raises(UserError, match="chunks of 3 actions; 4 were"):
        PolicyActor(predictor, replan=4)


def test_a_policy_of_another_robot_is_refused(policy_folder: Path, tmp_path: Path) -> None:
    world = ToyWorld(tmp_path / "diary")
    world.interface = TOY_INTERFACE.model_copy(update={"proprioception": tuple("abcdef")})
    with pytest.raises(UserError, match=r"4 action and 5 state dimensions .* environment 4, 6"):
        roll_out(world, ToyTrial("wait", 1), PolicyActor(Predictor.load(policy_folder)))


def test_as_many_numbers_that_mean_others_are_refused(tmp_path: Path) -> None:
    world = ToyWorld(tmp_path / "diary")
    trained_for = TOY_INTERFACE.model_copy(update={"rate": 30.0, "proprioception": tuple("vwxyz")})
    for reads_state in (True, False):
        action = ACTION.model_copy(
            update={"interface": trained_for, "proprioception_dim": 5 if reads_state else None}
        )
        policy = PolicyActor(Predictor.load(write_toy_policy(tmp_path / str(reads_state), action)))
        with pytest.raises(
            UserError, match=r"another robot than the environment's: rate 30.0 and 10.0"
        ) as error:
            policy.begin(world, ToyTrial("wait", 1))
        assert ("proprioception (v, w, x, y, z) and (a, b, c, d, e)" in str(error.value)) == reads_state


def test_a_policy_is_known_by_its_weights_and_statistics(policy_folder: Path, tmp_path: Path) -> None:
    assert actor_identity(str(policy_folder)) == actor_identity(str(policy_folder.parent))
    assert actor_identity("noop") == "noop"
    other = tmp_path / policy_folder.name
    shutil.copytree(policy_folder, other)
    assert actor_identity(str(other)) == actor_identity(str(policy_folder))
    statistics = json.loads((other / "normalization.json").read_text())
    statistics["toy"]["action"]["q99"][0] *= 2
    (other / "normalization.json").write_text(json.dumps(statistics))
    assert actor_identity(str(other)) != actor_identity(str(policy_folder))


def test_a_policy_of_several_robots_acts_with_the_statistics_that_are_named(
    policy_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "policy"
    shutil.copytree(policy_folder, folder)
    statistics = json.loads((folder / "normalization.json").read_text())
    moved = json.loads(json.dumps(statistics["toy"]))
    for bound in ("q01", "q99"):
        moved["action"][bound] = [value + 100 for value in moved["action"][bound]]
    (folder / "normalization.json").write_text(json.dumps({**statistics, "moved": moved}))
    with pytest.raises(UserError, match=r"statistics of toy, moved; none was chosen: name one by --dataset"):
        load_actor(str(folder), "toy")
    for dataset in ("toy", "moved"):
        evaluate_closed_loop(
            partial(ToyWorld, tmp_path / dataset),
            "toy",
            str(folder),
            tmp_path / "results" / dataset,
            tasks=("wait",),
            trials=1,
            films=0,
            dataset=dataset,
        )
    with pytest.raises(UserError, match="a run with dataset=moved, now dataset=toy"):
        evaluate_closed_loop(
            partial(ToyWorld, tmp_path), "toy", str(folder), tmp_path / "results" / "moved", dataset="toy"
        )
    acted = []
    for dataset in ("toy", "moved"):
        world = ToyWorld(tmp_path / "diary")
        roll_out(world, ToyTrial("wait", 1), load_actor(str(folder), "toy", dataset=dataset))
        acted.append(np.array(world.actions))
    np.testing.assert_allclose(acted[1][:3], acted[0][:3] + 100, rtol=1e-5)


def test_a_policy_acts_on_the_device_that_there_is(
    policy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actors, "default_device", lambda: torch.device("meta"))  # as a GPU would be
    actor = load_actor(str(policy_folder), "toy")
    assert isinstance(actor, PolicyActor)
    assert {parameter.device.type for parameter in actor.predictor.policy.parameters()} == {"meta"}


def test_the_expert_presses_the_button_and_nobody_does_not() -> None:
    environment = environment_factory("tabletop")()
    trial = Trial("press", 0)
    assert roll_out(environment, trial, load_actor("expert", "tabletop")).success
    assert not roll_out(environment, trial, NoopActor()).success
    environment.close()


def test_every_environment_has_an_expert_and_can_be_sent_to_a_process():
    environments = {entry.name: entry.load() for entry in entry_points(group="harp.environments")}
    experts = {entry.name for entry in entry_points(group="harp.experts")}
    assert {"tabletop", "tabletop-panda"} <= environments.keys() <= experts
    for environment in environments.values():
        pickle.dumps(environment)
