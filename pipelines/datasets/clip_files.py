"""The files of a clip: kept below the raw root, and told apart from what they were before."""

import json
import os
import stat
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path, PurePosixPath

from data_schemas.errors import BadInput
from data_schemas.identity import content_id, content_ids
from data_schemas.storage import fingerprints, is_remote
from pipelines.inputs import SourceClip
from pipelines.video import VideoIndex, index_video

_canonical = json.JSONEncoder(sort_keys=True, check_circular=False).encode
"""`json.dumps` would make an encoder for every clip, and look for circles in it."""

_source_id = content_ids("source")

FileState = Callable[[str], str]
"""Path below the raw root -> what the file is now."""


def inside(raw_root: Path, relative: str) -> Path:
    """The path below the raw root, refused if it leaves it (absolute, `..`, or through a symbolic link).

    Raises:
        BadInput: `path_escape`.
    """
    pure = PurePosixPath(relative)
    path = raw_root / pure
    if pure.is_absolute() or ".." in pure.parts or not path.resolve().is_relative_to(raw_root.resolve()):
        raise BadInput("path_escape", f"{relative} leads out of the raw root; copy the data into it.")
    return path


def source_id(clip: SourceClip, state_of: FileState) -> str:
    """Id of a clip as it lies on disk now, without reading it.

    It changes with what the reader was told about the clip and with the state of any file it watches: a replaced
    file is read anew, an unchanged one is not hashed again.
    """
    states = [f"{relative}:{state_of(relative)}" for relative in clip.hints["watch"]]
    hints = _canonical(clip.hints)
    return _source_id(clip.dataset, clip.source, clip.camera, clip.pair_key or "", hints, *states)


def file_states(raw_root: Path) -> FileState:
    """How the files of one raw root are now: size and modification time, `absent` where there is none; of a folder, all
    that it holds.

    Clips share files with their neighbours (the poses of a scene's cameras), and in an object store a folder is
    listed at once: what was looked at last is kept, so take a new one for every search of the root.
    """
    if is_remote(raw_root):
        listing = lru_cache(maxsize=16)(fingerprints)

        @lru_cache(maxsize=16)
        def ask(relative: str) -> str:
            path = raw_root / relative
            state = listing(path.parent).get(path.name, "absent")
            return _all_of(fingerprints(path, below=True)) if state == "folder" else state

        return ask

    @lru_cache(maxsize=16)
    def look(relative: str) -> str:
        place = f"{raw_root}/{relative}"  # a path object per file takes longer than the look-up
        try:
            status = os.stat(place)
        except OSError:
            return "absent"
        return _all_of(_files_below(place)) if stat.S_ISDIR(status.st_mode) else _state(status)

    return look


def _state(status: os.stat_result) -> str:
    return f"{status.st_size}:{status.st_mtime_ns}"


def _files_below(place: str) -> dict[str, str]:
    """State of every file in a folder, at any depth, by its path there; links are not followed."""
    paths = [os.path.join(folder, name) for folder, _, names in os.walk(place) for name in names]
    return {_encodable(os.path.relpath(path, place)): _state(os.lstat(path)) for path in paths}


def _encodable(name: str) -> str:
    """A name that may not be UTF-8 on disk, as one that is."""
    return name.encode("utf-8", "backslashreplace").decode()


def _all_of(states: dict[str, str]) -> str:
    """State of a folder."""
    return content_id("folder", *(f"{name}:{state}" for name, state in sorted(states.items())))


def index_clip(clip: SourceClip, raw_root: Path) -> VideoIndex:
    """Index the clip's video, refusing one outside the raw root."""
    return index_video(inside(raw_root, clip.hints["video"]))
