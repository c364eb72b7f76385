"""Random access to the members of published shards.

The index says where a sample's bytes begin in its tar. From there its member headers are walked once and kept, and
single members are read by position: a step that needs four frames of a 64-frame clip decodes four JPEGs. The
price against streaming a whole tar is one seek per member, which local disks and page caches do not notice. Shards in
an object store are copied to disk once, as every epoch reads all of them.
Memory does not grow with the version: member tables, cues and open shards are kept up to fixed numbers.
"""

import io
import os
import tarfile
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from data_schemas.errors import UserError
from data_schemas.identity import file_sha256
from data_schemas.samples import SampleIndex
from data_schemas.storage import copy_of, is_remote, keep_copy
from harp.data.version import PublishedVersion

CACHED_TABLES = 65_536
"""Samples whose member table is kept in memory, about 1 kB each."""
CACHED_CUES = 4096
"""Sides of samples whose cues are kept in memory, about 6 kB each."""
OPEN_SHARDS = 256
"""Kept open at once, below the usual limit of 1024 files of a process."""


@dataclass(frozen=True)
class SideCues:
    """Cues of one side of a sample, as shares of the original frame; N frames, K keypoints.

    Convention: (x, y), x as a share of the frame's width, y of its height.
    """

    wrist: np.ndarray
    """(N, 2) float32; 0 where unknown."""
    wrist_visible: np.ndarray
    """(N,) bool."""
    object: np.ndarray
    """(N, K, 2) float32; 0 where unknown."""
    object_visible: np.ndarray
    """(N, K) bool."""


class ShardReader:
    """Reads frames and cues of samples; safe to share among threads.

    Args:
        version: the published version.
        verify: what of a shard is compared with the manifest when it is first opened: its `sha256`, or only its
            `size`.
    """

    def __init__(self, version: PublishedVersion, verify: str = "sha256") -> None:
        self._version = version
        self._verify = verify
        self._checked: dict[str, _Once] = {}
        self._lock = threading.Lock()
        self._open = lru_cache(OPEN_SHARDS)(_OpenShard)
        self._layouts: dict[tuple[str, ...], dict[str, int]] = {}
        self._members = lru_cache(CACHED_TABLES)(self._walk)
        self._cues = lru_cache(CACHED_CUES)(self._load_cues)

    def frames(self, sample: SampleIndex, side: str, indices: Sequence[int]) -> np.ndarray:
        """Decode (n, H, W, 3) uint8 RGB frames of one side; repeated indices are decoded once."""
        decoded = {i: self._decode(sample, f"{side}.{i:04d}.jpg") for i in set(indices)}
        return np.stack([decoded[i] for i in indices])

    def cues(self, sample: SampleIndex, side: str) -> SideCues:
        """Cues of one side."""
        return self._cues(sample, side)

    def read(self, sample: SampleIndex, suffix: str) -> bytes:
        """Bytes of the member `{key}.{suffix}`."""
        members = self._members(sample)
        i = members.layout.get(suffix)
        if i is None:
            raise UserError(
                f"Sample {sample.key} in {sample.shard} has no member '{suffix}'; publish the version again."
            )
        offset, size = members.places[i].tolist()
        return self._file(sample.shard).read(size, sample.offset + offset)

    def _decode(self, sample: SampleIndex, suffix: str) -> np.ndarray:
        data = np.frombuffer(self.read(sample, suffix), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
        if image is None:
            raise UserError(
                f"Member {sample.key}.{suffix} in {sample.shard} is no JPEG; publish the version again."
            )
        return image

    def _walk(self, sample: SampleIndex) -> "_Members":
        data = io.BytesIO(self._file(sample.shard).read(sample.num_bytes, sample.offset))
        names, places = [], []
        try:
            with tarfile.open(fileobj=data, mode="r:") as tar:
                members = tar.getmembers()
        except tarfile.TarError as error:
            raise UserError(
                f"Sample {sample.key} cannot be read at byte {sample.offset} of {sample.shard} ({error}); copy the shard "
                "again from its source."
            ) from None
        for member in members:
            if not member.name.startswith(f"{sample.key}."):
                raise UserError(
                    f"The index puts sample {sample.key} at byte {sample.offset} of {sample.shard}, where "
                    f"{member.name} lies; publish the version again."
                )
            names.append(member.name[len(sample.key) + 1 :])
            places.append((member.offset_data, member.size))
        layout = self._layouts.setdefault(tuple(names), {name: i for i, name in enumerate(names)})
        return _Members(layout, np.array(places, np.uint32).reshape(-1, 2))

    def _load_cues(self, sample: SampleIndex, side: str) -> SideCues:
        with np.load(io.BytesIO(self.read(sample, "cues.npz")), allow_pickle=False) as arrays:
            size = arrays[f"{side}_frame_size"].astype(np.float32)
            wrist, objects = arrays[f"{side}_wrist"] / size, arrays[f"{side}_object"] / size
            return SideCues(
                wrist=np.nan_to_num(wrist).astype(np.float32),
                wrist_visible=arrays[f"{side}_wrist_visible"] & np.isfinite(wrist).all(-1),
                object=np.nan_to_num(objects).astype(np.float32),
                object_visible=arrays[f"{side}_object_visible"] & np.isfinite(objects).all(-1),
            )

    def _file(self, shard: str) -> "_OpenShard":
        with self._lock:
            check = self._checked.setdefault(shard, _Once())
        # Each shard is checked once, while other threads go on with other shards.
        check(lambda: self._check(shard))
        return self._open(self._path(shard))

    def _path(self, shard: str) -> Path:
        """Where the shard is read; of a lake in an object store a copy on disk."""
        path = self._version.lake / shard
        return copy_of(self._version.shard_files[shard].sha256) if is_remote(path) else path

    def _check(self, shard: str) -> None:
        path = self._version.lake / shard
        published = self._version.shard_files.get(shard)
        if published is None:
            raise UserError(
                f"The index names the shard {shard}, the manifest does not; publish the version again."
            )
        # By its name alone: where a lake's own links lead is its owner's choice.
        if PurePosixPath(shard).is_absolute() or ".." in PurePosixPath(shard).parts:
            raise UserError(
                f"The manifest of version {self._version.version_id} names the shard {shard}, which would lie outside "
                "of its lake; take the version from a source that you trust."
            )
        if is_remote(path):
            keep_copy(path, published.sha256)
            path = copy_of(published.sha256)
        if not path.is_file():
            raise UserError(
                f"The shard {path} is missing; copy the version's shards again from their source."
            )
        same = path.stat().st_size == published.num_bytes
        if same and self._verify == "sha256":
            same = file_sha256(path) == published.sha256
        if not same:
            raise UserError(
                f"The shard {path} has changed since version {self._version.version_id} was published (its "
                f"{self._verify} differs); restore it, or publish a new version."
            )

    def close(self) -> None:
        """Close all shards; they open again when needed."""
        self._open.cache_clear()


@dataclass(frozen=True)
class _Members:
    """Member table of one sample."""

    layout: dict[str, int]
    """Row of each suffix; samples with the same members share it."""
    places: np.ndarray
    """(members, 2) uint32: offset of the data from the sample's first byte, size."""


class _OpenShard:
    """An open file that closes when nobody uses it any more, so that it may be dropped while a thread reads."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)

    def read(self, size: int, offset: int) -> bytes:
        """`size` bytes from `offset`."""
        return os.pread(self._descriptor, size, offset)


class _Once:
    """Runs what it is called with until that succeeded once; callers wait for each other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done = False

    def __call__(self, action: Callable[[], None]) -> None:
        with self._lock:
            if not self._done:
                action()
                self._done = True
