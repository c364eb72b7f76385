"""Robot demonstrations with actions on disk: the layout that `harp simulate demonstrations` writes and stage 3 reads.

    DIR/demonstrations.json          `Collection`: who acted, at what rate, the meaning of every number, the settings
    DIR/episodes/<name>/episode.json `EpisodeInfo`
    DIR/episodes/<name>/steps.npz    `actions` (T, A), `proprioception` (T, P), float64
    DIR/episodes/<name>/third_view.mp4, wrist.mp4   T frames each, H.264; a robot may have no wrist camera

Row t of the arrays and frame t of both videos belong together: what was seen and measured *before* action t. The
layout is our own, as RH20T's has no actions, keeps states on a clock of their own and stores them as pickles; here
nothing has to be interpolated and numpy alone reads the numbers. An episode's folder appears only when it is complete.
"""

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from pydantic import Field, ValidationError

from data_schemas.errors import BadInput, UserError
from data_schemas.robot_interface import RobotInterface
from data_schemas.strict_model import StrictModel

COLLECTION_FILE, EPISODE_FILE, STEPS_FILE = "demonstrations.json", "episode.json", "steps.npz"
EPISODES = "episodes"
VIDEOS = ("third_view", "wrist")


class Collection(StrictModel):
    """Content of `demonstrations.json`."""

    robot: str
    rate: float
    """Actions and frames per second."""
    actions: tuple[str, ...]
    """What each number of an action means, in [-1, 1]."""
    action_scale: tuple[float, ...]
    """What 1 stands for: metres, radians; 1 for the absolute opening."""
    proprioception: tuple[str, ...]
    size: int | None = None
    """Width and height of the videos, pixels, where all have the same."""
    seed: int = 0
    """Of a simulation: everything follows from it."""
    appearance: dict[str, float] = Field(default_factory=dict)
    """Of a simulation: strengths of the variation of the look."""
    license: str

    @property
    def interface(self) -> RobotInterface:
        """What the numbers mean, as policies and environments say it."""
        return RobotInterface(
            rate=self.rate,
            actions=self.actions,
            action_scale=self.action_scale,
            proprioception=self.proprioception,
        )


class EpisodeInfo(StrictModel):
    """Content of `episode.json`."""

    name: str
    task: str
    trial: int = 0
    """Of a simulation: number of its start state."""
    instruction: str
    steps: int
    success: bool = True
    """Whether the task was done; others are not trained on."""


@dataclass(frozen=True)
class Episode:
    """One demonstration: what it is, actions (T, A), proprioception (T, P), and where its videos lie."""

    info: EpisodeInfo
    actions: np.ndarray
    proprioception: np.ndarray
    folder: Path

    def video(self, camera: str) -> Path:
        """Path of a camera's video: `third_view` or `wrist`."""
        return self.folder / f"{camera}.mp4"


def read_collection(root: Path) -> Collection:
    """What all episodes of a folder share.

    Raises:
        UserError: the folder holds no demonstrations.
    """
    file = root / COLLECTION_FILE
    try:
        return Collection.model_validate_json(file.read_text())
    except (OSError, ValidationError) as error:
        raise UserError(
            f"{root} holds no demonstrations with actions ({COLLECTION_FILE}: {_first_mistake(error)}); make some with "
            "`harp simulate demonstrations --out DIR`, or write your own in its layout (docs/policy_training.md)."
        ) from None


def episode_folders(root: Path) -> list[Path]:
    """Folders of the complete episodes, sorted by name."""
    return sorted(f.parent for f in (root / EPISODES).glob(f"[!.]*/{EPISODE_FILE}"))


def read_episode(folder: Path) -> Episode:
    """One episode.

    Raises:
        BadInput: a file is missing or broken, or the shapes do not agree.
    """
    try:
        info = EpisodeInfo.model_validate_json((folder / EPISODE_FILE).read_text())
        with np.load(folder / STEPS_FILE, allow_pickle=False) as steps:
            actions, proprioception = steps["actions"], steps["proprioception"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise BadInput("unreadable_episode", f"{folder.name}: {error}") from None
    if actions.ndim != 2 or proprioception.ndim != 2 or not len(actions) == len(proprioception) == info.steps:
        raise BadInput(
            "bad_episode_shape",
            f"{folder.name}: actions {actions.shape}, proprioception {proprioception.shape}, expected "
            f"{info.steps} rows of each.",
        )
    return Episode(info, actions, proprioception, folder)


def _first_mistake(error: OSError | ValidationError) -> str:
    """What to mend first."""
    if isinstance(error, OSError):
        return type(error).__name__
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'content'}: {first['msg']}"
