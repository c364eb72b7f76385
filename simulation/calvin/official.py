"""The same protocol in an installed `calvin_env`: its simulator, its cameras, its oracle.

For figures that are to be compared with published ones. `calvin_env` renders both cameras at every step, with OpenGL by
default, and wants its own old packages, so it is the user's to install; nothing here is needed for the environment of
`simulation.calvin.environment`, whose motions are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import calvin_env
import numpy as np
from calvin_env.envs.tasks import Tasks
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from data_schemas.errors import UserError
from simulation.calvin.chains import Chain, official_chains
from simulation.calvin.data import CalvinData
from simulation.calvin.environment import INTERFACE, SUBTASK_LIMIT
from simulation.calvin.starts import benchmark_start


@dataclass(frozen=True)
class Observation:
    """What a policy sees, see `simulation.calvin.environment.Observation`; rendered already."""

    instruction: str
    robot: np.ndarray
    third_view: np.ndarray
    wrist: np.ndarray

    @property
    def proprioception(self) -> np.ndarray:
        return np.concatenate([self.robot[:6], self.robot[-1:]])


class OfficialEnvironment:
    """An installed `calvin_env`, driven as its own evaluation drives it.

    Args:
        folder: CALVIN's dataset (with `validation/`), whose stored configuration describes scene and cameras; without
            it, or where a checkout of calvin_env is named, its own configuration does, which says the same.
        scene: D, or another one to replace it.
        renderer: `egl` or `tiny`.

    Attributes: simulator and oracle of calvin_env.

    Raises:
        UserError: the folder is no dataset, or the sentences are not beside the installation.
    """

    subtask_limit = SUBTASK_LIMIT
    interface = INTERFACE

    def __init__(
        self,
        folder: Path | str | None = None,
        scene: str = "D",
        renderer: str = "egl",
    ) -> None:
        # It is installed from its checkout, which has the configuration, and within that of calvin the sentences.
        root = Path(str(calvin_env.__file__)).resolve().parents[1]
        data = CalvinData(root)
        self.simulator = _make(root, folder, scene, renderer)
        self.oracle = Tasks(data.tasks())
        self._instructions = data.instructions()
        self._task, self._before = "", {}

    def chains(self, count: int) -> Sequence[Chain]:
        """The first `count` of the benchmark's 1,000 chains."""
        return official_chains(count)

    def start(self, chain: Chain) -> None:
        """Put everything where a chain starts."""
        robot, scene = benchmark_start(chain.initial)
        self.simulator.reset(robot_obs=robot, scene_obs=scene)

    def instruct(self, task: str) -> Observation:
        """Ask for a task, to be judged from this moment on."""
        self._task, self._before = task, self.simulator.get_info()
        return self._observe(self.simulator.get_obs())

    def step(self, action: np.ndarray) -> tuple[Observation, bool]:
        """Carry out one relative action (7,); the gripper is taken by its sign."""
        command = np.array([*action[:6], -1.0 if action[6] < 0 else 1.0])
        seen, _, _, info = self.simulator.step(command)
        done = self.oracle.get_task_info_for_set(self._before, info, {self._task})
        return self._observe(seen), bool(done)

    def close(self) -> None:
        """Free the physics."""
        self.simulator.close()
        self.simulator.close = lambda: None  # calvin_env closes once more when it is freed, and fails then

    def _observe(self, seen: dict[str, Any]) -> Observation:
        pictures = seen["rgb_obs"]
        return Observation(
            self._instructions[self._task],
            np.array(seen["robot_obs"]),
            np.asarray(pictures["rgb_static"], dtype=np.uint8),
            np.asarray(pictures["rgb_gripper"], dtype=np.uint8),
        )


def _make(root: Path, folder: Path | str | None, scene: str, renderer: str) -> Any:
    """The simulator as the dataset's own configuration describes it, or without one, as calvin_env's does."""
    stored = _stored_configuration(folder) if folder else None
    if stored:
        config = OmegaConf.load(stored)
    else:
        removed = ("~recorder", "~vr_input", "hydra/job_logging=default", "hydra/hydra_logging=default")
        with initialize_config_dir(str(root / "conf"), version_base=None):
            config = compose(
                "config_data_collection", [*removed, "use_vr=false", "cameras=static_and_gripper"]
            )
    if scene != "D" or not stored:
        config.scene = OmegaConf.load(root / "conf" / "scene" / f"calvin_scene_{scene}.yaml")
    config.env.use_egl = renderer == "egl"
    for name in set(config.cameras) - {"static", "gripper"}:
        del config.cameras[name]
    return instantiate(config.env, show_gui=False, use_vr=False, use_scene_info=True)


def _stored_configuration(folder: Path | str) -> Path | None:
    """The configuration that a dataset keeps, or none where a checkout is named, as for HARP's environment."""
    file = Path(folder) / "validation" / ".hydra" / "merged_config.yaml"
    if file.is_file():
        return file
    try:
        CalvinData.open(folder)
    except UserError:
        raise UserError(
            f"{folder} is no CALVIN dataset (expected {file.relative_to(folder)} in it), and no checkout of calvin_env."
        ) from None
    return None
