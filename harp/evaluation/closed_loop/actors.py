"""Who acts in a trial: a trained policy, the environment's scripted expert, or nobody.

An actor is asked with an observation and answers with the next K actions, which are carried out before it is asked
again. The references need no training: `noop` shows how often a task does itself, `expert` that it can be done.
"""

from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Any, Protocol

import numpy as np

from data_schemas.errors import UserError
from data_schemas.identity import content_id, file_sha256
from harp.evaluation.environment import Environment, Observation, Trial
from harp.policy.checkpoints.folder import find_policy
from harp.policy.normalization_files import AUTHORS_FILE, OFT_FILE
from harp.policy.predict import Predictor
from harp.policy.tokenizer import TOKENIZER_FILE
from harp.training.distributed import default_device
from harp.training.policy_run import checkpoint_identity

EXPERT, NOOP = "expert", "noop"
REFERENCES = (EXPERT, NOOP)

EnvironmentFactory = Callable[[], Environment[Any]]
"""Makes an environment in whichever process needs one, so it must be picklable: a class, a function or a `partial`."""


class Actor(Protocol):
    """Decides what to do next."""

    def begin(self, environment: Environment[Any], trial: Trial) -> None:
        """The environment was reset to a trial."""
        ...

    def act(self, observation: Observation) -> np.ndarray:
        """The next actions (K, A) in the robot's units."""
        ...


class PolicyActor:
    """A trained policy with the cameras and the state that it was trained on.

    Args:
        predictor: of the policy.
        replan: actions of a chunk that are carried out before the policy looks again; all by default.
    """

    def __init__(self, predictor: Predictor, replan: int | None = None) -> None:
        policy = predictor.policy
        if replan is not None and not 1 <= replan <= policy.action.chunk:
            raise UserError(
                f"The policy predicts chunks of {policy.action.chunk} actions; {replan} were to be carried out."
            )
        self.predictor, self._replan = predictor, replan
        self._cameras = policy.vla.policy_config.cameras
        self._reads_state = policy.action.proprioception_dim is not None

    def begin(self, environment: Environment[Any], trial: Trial) -> None:
        """Check that the policy drives this robot.

        Raises:
            UserError: numbers of action or state that are others or mean others, or more cameras than there are.
        """
        action, interface = self.predictor.policy.action, environment.interface
        has = (len(interface.actions), len(interface.proprioception))
        wants = (action.dim, action.proprioception_dim or has[1])
        if wants != has or self._cameras > 2:
            raise UserError(
                f"The policy has {wants[0]} action and {wants[1]} state dimensions and {self._cameras} cameras, the "
                f"environment {has[0]}, {has[1]} and 2: evaluate it where it was trained for."
            )
        if action.interface and (differences := action.interface.differences(interface, self._reads_state)):
            raise UserError(
                "The policy was trained for another robot than the environment's: "
                f"{differences}. Evaluate it where it was trained for."
            )

    def act(self, observation: Observation) -> np.ndarray:
        views = (
            [observation.third_view] if self._cameras == 1 else [observation.third_view, observation.wrist]
        )
        state = observation.proprioception if self._reads_state else None
        return self.predictor.act(views, observation.instruction, state)[: self._replan]


class NoopActor:
    """Commands zero, which keeps a robot with relative actions where it is."""

    def begin(self, environment: Environment[Any], trial: Trial) -> None:
        self._action = np.zeros((1, len(environment.interface.actions)))

    def act(self, observation: Observation) -> np.ndarray:
        return self._action


class ExpertActor:
    """The environment's scripted expert, who knows where everything is.

    Args:
        expert: called with (environment, trial); its `actions()` are computed as they are asked for.
    """

    def __init__(self, expert: Callable[[Environment[Any], Trial], Any]) -> None:
        self._expert = expert
        self._actions: Iterator[np.ndarray] = iter(())

    def begin(self, environment: Environment[Any], trial: Trial) -> None:
        self._actions = self._expert(environment, trial).actions()

    def act(self, observation: Observation) -> np.ndarray:
        return next(self._actions)[None]


def environment_factory(name: str) -> EnvironmentFactory:
    """The environment of an entry point `harp.environments`."""
    return _entry("harp.environments", name)


def actor_identity(policy: str) -> str:
    """Changes with anything of a policy that its actions depend on; a reference is its name."""
    if policy in REFERENCES:
        return policy
    folder = find_policy(policy, REFERENCES)
    beside = [folder / name for name in (AUTHORS_FILE, OFT_FILE, TOKENIZER_FILE)]
    contents = [file_sha256(path) for path in beside if path.is_file()]
    return f"{folder.name}@{content_id(checkpoint_identity(folder), *contents)}"


def load_actor(policy: str, environment: str, replan: int | None = None, dataset: str | None = None) -> Actor:
    """The actor that a command line names.

    Args:
        policy: folder of a policy or its run, which acts on the GPU where there is one; `expert` or `noop`.
        environment: name of the entry point whose expert is meant.
        dataset: whose statistics, where the policy holds several.

    Raises:
        UserError: no such policy or expert.
    """
    if policy == NOOP:
        return NoopActor()
    if policy == EXPERT:
        return ExpertActor(_entry("harp.experts", environment))
    predictor = Predictor.load(find_policy(policy, REFERENCES), dataset, default_device())
    return PolicyActor(predictor, replan)


def _entry(group: str, name: str) -> Any:
    found = {entry.name: entry for entry in entry_points(group=group)}
    if name not in found:
        raise UserError(
            f"There is no '{name}' among {group}: {', '.join(sorted(found)) or 'none installed'}."
        )
    return found[name].load()
