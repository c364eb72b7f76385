"""Start states: those of the benchmark, and random ones for demonstrations in any scene."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from data_schemas.errors import UserError
from simulation.calvin.chains import COLORS, Condition
from simulation.calvin.data import SceneSettings

# The constants of calvin_agent's evaluation: robot state (15,), see `simulation.calvin.robot.ROBOT_STATE`.
ROBOT_START = (
    *(0.02586889, -0.2313129, 0.5712808, 3.09045411, -0.02908596, 1.50013585, 0.07999963),
    *(-1.21779124, 1.03987629, 2.11978254, -2.34205014, -0.87015899, 1.64119093, 0.55344928),
    1.0,
)
SLIDER_LEFT, DRAWER_OPEN, SWITCH_ON = 0.28, 0.22, 0.088  # metres
DOOR_LEFT = 0.24  # metres; the end in scene C, and far enough in the others
CABINET = {
    "slider_left": (-2.40851662e-01, 9.24044687e-02, 4.60990009e-01),
    "slider_right": (7.03416330e-02, 9.24044687e-02, 4.60990009e-01),
}
ON_TABLE = (
    (5.00000896e-02, -1.20000177e-01, 4.59990009e-01),
    (2.29995412e-01, -1.19995140e-01, 4.59990010e-01),
)
YAW = (np.pi / 2 - np.pi / 8, np.pi / 2 + np.pi / 8)
FNV_PRIME = 0x01000193
APART = 0.11  # metres between the middles of two blocks that are drawn
TRIES = 1000


def fnv1_32(text: str) -> int:
    """FNV-1 hash, 32 bits, from 0 over UTF-16: what pyhash computes, by which CALVIN seeds a start."""
    value = 0
    for byte in text.encode("utf-16-le"):
        value = value * FNV_PRIME & 0xFFFFFFFF ^ byte
    return value


def benchmark_start(condition: Condition) -> tuple[np.ndarray, np.ndarray]:
    """States of robot (15,) and scene (24,) from which an evaluation chain starts, in scene D's order of blocks."""
    random = np.random.RandomState(fnv1_32(str(condition.values())))
    on_table = list(ON_TABLE)
    random.shuffle(on_table)
    scene = np.zeros(24)
    scene[0] = SLIDER_LEFT if condition["slider"] == "left" else 0
    scene[1] = DRAWER_OPEN if condition["drawer"] == "open" else 0
    scene[3] = SWITCH_ON if condition["lightbulb"] else 0
    scene[4], scene[5] = condition["lightbulb"], condition["led"]
    # Red lies on the first place and pink on the second; blue takes the second only where red lies on the table.
    places = {"red": 0, "blue": 1 if condition["red_block"] == "table" else 0, "pink": 1}
    for i, color in enumerate(COLORS):
        place = condition[f"{color}_block"]
        pose = scene[6 + 6 * i : 12 + 6 * i]
        pose[:3] = on_table[places[color]] if place == "table" else CABINET[str(place)]
        pose[5] = random.uniform(*YAW)
    return np.array(ROBOT_START), scene


def draw_start(settings: SceneSettings, random: np.random.Generator) -> np.ndarray:
    """A random state (24,) of a scene: blocks anywhere on its surfaces, lights, door and drawer anyhow."""
    places = dict.fromkeys(settings.blocks, tuple(settings.surfaces))
    return _drawn(settings, places, random.integers(0, 2, 4).astype(bool), random)


def condition_start(settings: SceneSettings, condition: Condition, random: np.random.Generator) -> np.ndarray:
    """A state (24,) of any scene that agrees with a symbolic condition, with blocks turned as the benchmark turns them."""
    places = {name: (str(condition[f"{name.removeprefix('block_')}_block"]),) for name in settings.blocks}
    left, opened = condition["slider"] == "left", condition["drawer"] == "open"
    on = np.array([left, opened, condition["lightbulb"], condition["led"]], dtype=bool)
    return _drawn(settings, places, on, random)


def _drawn(
    settings: SceneSettings,
    places: Mapping[str, tuple[str, ...]],
    on: np.ndarray,
    random: np.random.Generator,
) -> np.ndarray:
    """Blocks on one of their surfaces each, apart from each other; `on`: door left, drawer open, bulb, LED."""
    scene = np.zeros(24)
    left, opened, scene[4], scene[5] = on
    scene[0], scene[1], scene[3] = DOOR_LEFT * left, DRAWER_OPEN * opened, SWITCH_ON * scene[4]
    for _ in range(TRIES):
        poses = np.zeros((len(places), 6))
        for pose, names in zip(poses, places.values(), strict=True):
            low, high = settings.surfaces[str(random.choice(names))]
            pose[:3], pose[5] = random.uniform(low, high), random.uniform(*YAW)
        if all(np.linalg.norm(a[:3] - b[:3]) > APART for a, b in combinations(poses, 2)):
            scene[6:] = poses.ravel()
            return scene
    raise UserError(f"The surfaces of the scene's file have no room for blocks {APART} m from each other.")
