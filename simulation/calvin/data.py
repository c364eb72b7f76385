"""CALVIN's own files: scenes, robot, cameras, tasks and sentences, read from a folder that the user names.

The folder is a checkout of `mees/calvin_env` (with `data/` and `conf/`) or of `mees/calvin`, which holds the former and
the sentences. Nothing of it ships with HARP. The configuration files are written for Hydra; the few values that are
used are plain YAML, so Hydra is not needed.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import yaml

from data_schemas.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FOLDER_VARIABLE = "HARP_CALVIN"
SCENES = ("A", "B", "C", "D")
ANNOTATIONS = "new_playtable_validation.yaml"
Surfaces = Mapping[str, np.ndarray]

T = TypeVar("T", bound="DataclassInstance")


@dataclass(frozen=True)
class RobotSettings:
    """`conf/robot/panda_longer_finger.yaml`: metres, radians, newtons, and joint and link numbers of the URDF."""

    filename: str
    max_joint_force: float
    gripper_force: float
    arm_joint_ids: tuple[int, ...]
    lower_joint_limits: tuple[float, ...]
    upper_joint_limits: tuple[float, ...]
    gripper_joint_ids: tuple[int, ...]
    gripper_joint_limits: tuple[float, float]
    tcp_link_id: int
    max_velocity: float


@dataclass(frozen=True)
class StaticCameraSettings:
    """`conf/cameras/cameras/static.yaml`: vertical field of view in degrees, metres, pixels."""

    fov: float
    aspect: float
    nearval: float
    farval: float
    width: int
    height: int
    look_at: tuple[float, ...]
    look_from: tuple[float, ...]
    up_vector: tuple[float, ...]


@dataclass(frozen=True)
class GripperCameraSettings:
    """`conf/cameras/cameras/gripper.yaml`: vertical field of view in degrees, metres, pixels."""

    fov: float
    aspect: float
    nearval: float
    farval: float
    width: int
    height: int


@dataclass(frozen=True)
class SceneSettings:
    """`conf/scene/calvin_scene_X.yaml`.

    `table` and `blocks` are the entries of that file; a block's name is `block_red`, `block_blue` or `block_pink`, and
    their order, which differs from scene to scene, is the order in the scene's state vector. `surfaces` are (2, 3)
    corners in metres between which the middle of a block may be drawn.
    """

    global_scaling: float
    robot_base_position: tuple[float, ...]
    robot_base_orientation: tuple[float, ...]
    robot_initial_joint_positions: tuple[float, ...]
    surfaces: Surfaces
    table: Mapping[str, Any]
    blocks: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class CalvinData:
    """Where the files lie, and their content.

    Args:
        root: folder with `data/` and `conf/`.
    """

    root: Path

    @classmethod
    def open(cls, folder: Path | str | None = None) -> "CalvinData":
        """Find the data.

        Args:
            folder: checkout of calvin_env or of calvin; default: the variable HARP_CALVIN.

        Raises:
            UserError: no folder is named, or it is another one.
        """
        named = folder or os.environ.get(FOLDER_VARIABLE)
        if not named:
            raise UserError(
                "CALVIN's data are needed: clone https://github.com/mees/calvin_env and name its folder "
                f"(--data DIR, or the variable {FOLDER_VARIABLE})."
            )
        for root in (Path(named), Path(named) / "calvin_env"):
            if (root / "data").is_dir() and (root / "conf" / "scene").is_dir():
                return cls(root.resolve())
        raise UserError(
            f"{named} is no checkout of calvin_env: expected the folders data/ and conf/scene/ in it."
        )

    def file(self, name: str) -> Path:
        """Path of a file of `data/`.

        Raises:
            UserError: it is absent.
        """
        path = self.root / "data" / name
        if not path.is_file():
            raise UserError(f"{path} is missing: is {self.root} a complete checkout of calvin_env?")
        return path

    def scene(self, letter: str) -> SceneSettings:
        """Scene A, B, C or D.

        Raises:
            UserError: there is no such scene, or its file says something else.
        """
        if letter not in SCENES:
            raise UserError(f"Unknown CALVIN scene {letter!r}: choose one of {', '.join(SCENES)}.")
        path = self.root / "conf" / "scene" / f"calvin_scene_{letter}.yaml"
        content = _read(path)
        try:
            content["table"] = content["objects"]["fixed_objects"]["table"]
            content["blocks"] = content["objects"]["movable_objects"]
            content["surfaces"] = {name: np.array(box) for name, box in content["surfaces"].items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is no scene of CALVIN: {error}.") from None
        return _build(SceneSettings, content, path)

    def robot(self) -> RobotSettings:
        """The Panda with longer fingers, which all of CALVIN was recorded with."""
        folder = self.root / "conf" / "robot"
        path = folder / "panda_longer_finger.yaml"
        return _build(RobotSettings, _read(folder / "panda.yaml") | _read(path), path)

    def static_camera(self) -> StaticCameraSettings:
        """The camera in front of the table."""
        path = self.root / "conf" / "cameras" / "cameras" / "static.yaml"
        return _build(StaticCameraSettings, _read(path), path)

    def gripper_camera(self) -> GripperCameraSettings:
        """The camera at the hand."""
        path = self.root / "conf" / "cameras" / "cameras" / "gripper.yaml"
        return _build(GripperCameraSettings, _read(path), path)

    def tasks(self) -> dict[str, list[Any]]:
        """Every task with the criterion that judges it and its arguments."""
        path = self.root / "conf" / "tasks" / "new_playtable_tasks.yaml"
        tasks = _read(path).get("tasks")
        if not isinstance(tasks, dict):
            raise UserError(f"{path} has no tasks: is {self.root} a complete checkout of calvin_env?")
        return tasks

    def instructions(self) -> dict[str, str]:
        """The sentence of each task with which the benchmark asks for it, the first of its list.

        Raises:
            UserError: the file of sentences, which belongs to mees/calvin, is nowhere near.
        """
        places = (self.root, self.root.parent / "calvin_models" / "conf" / "annotations")
        for place in places:
            if (place / ANNOTATIONS).is_file():
                return {task: sentences[0] for task, sentences in _read(place / ANNOTATIONS).items()}
        raise UserError(
            f"{ANNOTATIONS} with CALVIN's sentences is absent: take calvin_models/conf/annotations/{ANNOTATIONS} of "
            f"https://github.com/mees/calvin and put it into {self.root}."
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read as a configuration of CALVIN: {error}.") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is no configuration of CALVIN: expected names with values.")
    return content


def _build(cls: type[T], content: Mapping[str, Any], path: Path) -> T:
    """A settings object of the values that it names; the files hold more."""
    names = [field.name for field in fields(cls)]
    if missing := [name for name in names if name not in content]:
        raise UserError(f"{path} lacks {', '.join(missing)}.")
    values = {name: content[name] for name in names}
    return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})
