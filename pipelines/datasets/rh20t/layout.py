"""How RH20T names and places its files.

    RH20T_cfg{1..7}/
      calib/<milliseconds>/intrinsics.npy
      task_XXXX_user_XXXX_scene_XXXX_cfg_XXXX/          robot
        metadata.json
        cam_<serial>/color.mp4, timestamps.npy          or cam_<serial>/color/… in the 320x180 release
        transformed/tcp.npy, gripper.npy
      task_XXXX_user_XXXX_scene_XXXX_cfg_XXXX_human/    person, without transformed/
      task_description.json                             in this folder or up to two above

The raw root may hold several such folders, be one of them, or be a bare folder of scenes.
"""

import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from data_schemas.errors import UserError
from data_schemas.storage import fingerprints, is_remote
from pipelines.datasets.base import check_root

logger = logging.getLogger(__name__)

SCENE_NAME = re.compile(
    r"task_(?P<task>\d{4})_user_(?P<user>\d{4})_scene_(?P<scene>\d{4})_cfg_(?P<cfg>\d{4})(?P<human>_human)?"
)
MAX_DEPTH = 2
"""Folders between the raw root and the folder that holds scenes."""

IN_HAND = {
    1: {"043322070878"},
    2: {"104422070042"},
    3: {"045322071843"},
    4: {"045322071843"},
    5: {"104422070042", "135122079702"},
    6: {"135122075425", "135122070361"},
    7: {"135122075425", "135122070361"},
}
"""Serials of the cameras on the gripper, by robot configuration: their view moves with the hand."""


@dataclass(frozen=True)
class Scene:
    """One scene folder, robot or human, by what its name says."""

    folder: PurePosixPath
    """Relative to the folder in which scenes were searched for."""
    task: int
    scene: int
    cfg: int
    human: bool

    @property
    def pair_name(self) -> str:
        """Name of the robot half, which both halves share."""
        return self.folder.name.removesuffix("_human")

    @property
    def license(self) -> str:
        """By scene number: 1 to 5 are published as RH20T-C, 6 to 10 as RH20T-NC."""
        if 1 <= self.scene <= 5:
            return "CC-BY-SA-4.0"
        return "CC-BY-NC-4.0" if 6 <= self.scene <= 10 else "unknown"


def parse_scene(folder: PurePosixPath) -> Scene | None:
    """Scene of a folder, or None if its name is not RH20T's."""
    match = SCENE_NAME.fullmatch(folder.name)
    if match is None:
        return None
    numbers = {key: int(match[key]) for key in ("task", "scene", "cfg")}
    return Scene(folder, human=match["human"] is not None, **numbers)


def find_scenes(root: Path) -> Iterator[Scene]:
    """All scenes below `root`, sorted by folder.

    Raises:
        UserError: there are none.
    """
    check_root(root)
    found = False
    for scene in _walk(root, PurePosixPath(), MAX_DEPTH):
        found = True
        yield scene
    if not found:
        raise UserError(
            f"{root} holds no RH20T scenes: expected folders task_XXXX_user_XXXX_scene_XXXX_cfg_XXXX[_human] in "
            f"it or up to {MAX_DEPTH} folders below; check the root."
        )


def _walk(root: Path, folder: PurePosixPath, depth: int) -> Iterator[Scene]:
    try:
        names = subfolders(root.joinpath(*folder.parts))
    except PermissionError:  # as of a disk's own lost+found
        logger.warning("%s may not be listed: no scene is looked for in it", root / folder)
        return
    for name in names:
        scene = parse_scene(folder / name)
        if scene is not None:
            yield scene
        elif depth:
            yield from _walk(root, folder / name, depth - 1)


def subfolders(folder: Path) -> list[str]:
    """Sorted names of the folders in a folder; tables hold text, so that one whose name is none is passed over."""
    if is_remote(folder):
        return sorted(name for name, state in fingerprints(folder).items() if state == "folder")
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir())
    for name in [name for name in names if not _is_text(name)]:
        logger.warning("%s/%r is passed over: its name is not UTF-8, rename it", folder, os.fsencode(name))
        names.remove(name)
    return names


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def load_instructions(folders: list[Path]) -> dict[str, str]:
    """English sentence by task name (`task_0001`), from the first folder that has `task_description.json`.

    Raises:
        UserError: the file is not what RH20T publishes.
    """
    for folder in folders:
        path = folder / "task_description.json"
        if path.is_file():
            try:
                entries = json.loads(path.read_text("utf-8"))
                return {task: entry["task_description_english"].strip() for task, entry in entries.items()}
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise UserError(
                    f"{path} is not RH20T's task list ({type(error).__name__}: {error}): expected "
                    '{"task_0001": {"task_description_english": "…"}}; mend or remove it.'
                ) from None
    return {}
