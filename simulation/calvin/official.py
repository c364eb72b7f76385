# pyright: reportMissingImports=false
"""The same protocol in an installed `calvin_env`: its simulator, its cameras, its oracle.

For figures that are to be compared with published ones. `calvin_env` renders both cameras at every step, with OpenGL by
default, and wants its own old packages, so it is the user's to install; nothing here is needed for the environment of
`simulation.calvin.environment`, whose motions are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from calvin_env.envs.play_table_env import get_env
from calvin_env.envs.tasks import Tasks

from data_schemas.errors import UserError
from simulation.calvin.chains import Chain, official_chains
from simulation.calvin.data import CalvinData
from simulation.calvin.environment import ACTIONS, PROPRIOCEPTION, SUBTASK_LIMIT
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
        folder: the dataset (with `validation/`), whose stored configuration says the scene and the cameras.
        scene: D, or another one to replace the dataset's.
        renderer: `egl` or `tiny`.
        made: the simulator, where it has been made already; then `folder` may be None.

    Raises:
        UserError: no dataset there.
    """

    subtask_limit = SUBTASK_LIMIT
    action_dimensions = len(ACTIONS)
    proprioception_dimensions = len(PROPRIOCEPTION)

    def __init__(
        self,
        folder: Path | str | None = None,
        scene: str = "D",
        renderer: str = "egl",
        made: Any = None,
    ) -> None:
        self._environment = made or _make(folder, scene, renderer)
        # An installation for development lies in its checkout, which has the tasks and, within calvin, the sentences.
        import_root = Path(__import__("calvin_env").__file__).resolve().parents[1]
        data = CalvinData(import_root)
        self._oracle = Tasks(data.tasks())
        self._instructions = data.instructions()
        self._task, self._before = "", {}

    def chains(self, count: int) -> Sequence[Chain]:
        """The first `count` of the benchmark's 1,000 chains."""
        return official_chains()[:count]

    def start(self, chain: Chain) -> None:
        """Put everything where a chain starts."""
        robot, scene = benchmark_start(chain.initial)
        self._environment.reset(robot_obs=robot, scene_obs=scene)

    def instruct(self, task: str) -> Observation:
        """Ask for a task, to be judged from this moment on."""
        self._task, self._before = task, self._environment.get_info()
        return self._observe(self._environment.get_obs())

    def step(self, action: np.ndarray) -> tuple[Observation, bool]:
        """Carry out one relative action (7,); the gripper is taken by its sign."""
        command = np.array([*action[:6], -1.0 if action[6] < 0 else 1.0])
        seen, _, _, info = self._environment.step(command)
        done = self._oracle.get_task_info_for_set(self._before, info, {self._task})
        return self._observe(seen), bool(done)

    def close(self) -> None:
        """Free the physics."""
        self._environment.close()

    def _observe(self, seen: dict[str, Any]) -> Observation:
        pictures = seen["rgb_obs"]
        return Observation(
            self._instructions[self._task],
            np.array(seen["robot_obs"]),
            np.asarray(pictures["rgb_static"], dtype=np.uint8),
            np.asarray(pictures["rgb_gripper"], dtype=np.uint8),
        )


def _make(folder: Path | str | None, scene: str, renderer: str) -> Any:
    validation = Path(folder) / "validation" if folder else None
    if validation is None or not (validation / ".hydra" / "merged_config.yaml").is_file():
        raise UserError(
            f"{folder} is no CALVIN dataset: expected validation/.hydra/merged_config.yaml in it; name it by --data."
        )
    replaced = {} if scene == "D" else {"scene": f"calvin_scene_{scene}"}
    environment = get_env(
        validation,
        obs_space={"rgb_obs": ["rgb_static", "rgb_gripper"], "depth_obs": []},
        show_gui=False,
        **replaced,
    )
    return environment
