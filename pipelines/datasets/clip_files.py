"""The files of a clip: kept below the raw root, and told apart from what they were before."""

import json
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path, PurePosixPath

from data_schemas.errors import BadInput
from data_schemas.identity import content_ids
from data_schemas.storage import fingerprints, is_remote
from pipelines.inputs import SourceClip
from pipelines.video import VideoIndex, index_video

_canonical = json.JSONEncoder(sort_keys=True).encode
"""`json.dumps` would make an encoder for every clip."""

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
    """How the files of one raw root are now: size and modification time, `absent` where there is none.

    Clips share files with their neighbours (the poses of a scene's cameras), and in an object store a folder is
    listed at once: what was looked at last is kept, so take a new one for every search of the root.
    """
    if is_remote(raw_root):
        listing = lru_cache(maxsize=16)(fingerprints)

        def state_of(relative: str) -> str:
            path = raw_root / relative
            return listing(path.parent).get(path.name, "absent")

        return state_of

    @lru_cache(maxsize=16)
    def look(relative: str) -> str:
        try:
            status = os.stat(f"{raw_root}/{relative}")  # a path object per file takes longer than the look-up
        except OSError:
            return "absent"
        return f"{status.st_size}:{status.st_mtime_ns}"

    return look


def index_clip(clip: SourceClip, raw_root: Path) -> VideoIndex:
    """Index the clip's video, refusing one outside the raw root."""
    return index_video(inside(raw_root, clip.hints["video"]))
