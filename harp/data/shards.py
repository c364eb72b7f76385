"""Random access to the members of published shards.

The index says where a sample's bytes begin in its tar. From there its member headers are walked once and kept, and
single members are read by position: a step that needs four frames of a 64-frame clip decodes four JPEGs. The
price against streaming a whole tar is one seek per member, which local disks and page caches do not notice.
"""

import io
import os
import tarfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from data_schemas.errors import UserError
from data_schemas.identity import file_sha256
from data_schemas.samples import SampleIndex
from harp.data.version import PublishedVersion

CACHED_SAMPLES = 4096
"""Member tables and cues kept in memory; about 20 kB a sample."""


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
        self._open: dict[str, int] = {}
        self._lock = threading.Lock()
        self._members = lru_cache(CACHED_SAMPLES)(self._walk)
        self._cues = lru_cache(CACHED_SAMPLES)(self._load_cues)
        self._samples = {sample.key: sample for sample in version.samples}

    def frames(self, sample: SampleIndex, side: str, indices: Sequence[int]) -> np.ndarray:
        """Decode (n, H, W, 3) uint8 RGB frames of one side; repeated indices are decoded once."""
        decoded = {i: self._decode(sample, f"{side}.{i:04d}.jpg") for i in set(indices)}
        return np.stack([decoded[i] for i in indices])

    def cues(self, sample: SampleIndex, side: str) -> SideCues:
        """Cues of one side."""
        return self._cues(sample.key, side)

    def read(self, sample: SampleIndex, suffix: str) -> bytes:
        """Bytes of the member `{key}.{suffix}`."""
        members = self._members(sample.key)
        if suffix not in members:
            raise UserError(
                f"Sample {sample.key} in {sample.shard} has no member '{suffix}'; publish the version again."
            )
        offset, size = members[suffix]
        return os.pread(self._file(sample.shard), size, offset)

    def _decode(self, sample: SampleIndex, suffix: str) -> np.ndarray:
        data = np.frombuffer(self.read(sample, suffix), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
        if image is None:
            raise UserError(
                f"Member {sample.key}.{suffix} in {sample.shard} is no JPEG; publish the version again."
            )
        return image

    def _walk(self, key: str) -> dict[str, tuple[int, int]]:
        sample = self._samples[key]
        data = io.BytesIO(os.pread(self._file(sample.shard), sample.num_bytes, sample.offset))
        members = {}
        with tarfile.open(fileobj=data, mode="r:") as tar:
            for member in tar:
                if not member.name.startswith(f"{key}."):
                    raise UserError(
                        f"The index puts sample {key} at byte {sample.offset} of {sample.shard}, where "
                        f"{member.name} lies; publish the version again."
                    )
                members[member.name[len(key) + 1 :]] = (sample.offset + member.offset_data, member.size)
        return members

    def _load_cues(self, key: str, side: str) -> SideCues:
        sample = self._samples[key]
        with np.load(io.BytesIO(self.read(sample, "cues.npz")), allow_pickle=False) as arrays:
            size = arrays[f"{side}_frame_size"].astype(np.float32)
            wrist, objects = arrays[f"{side}_wrist"] / size, arrays[f"{side}_object"] / size
            return SideCues(
                wrist=np.nan_to_num(wrist).astype(np.float32),
                wrist_visible=arrays[f"{side}_wrist_visible"] & np.isfinite(wrist).all(-1),
                object=np.nan_to_num(objects).astype(np.float32),
                object_visible=arrays[f"{side}_object_visible"] & np.isfinite(objects).all(-1),
            )

    def _file(self, shard: str) -> int:
        with self._lock:
            if shard not in self._open:
                self._open[shard] = self._check_and_open(shard)
            return self._open[shard]

    def _check_and_open(self, shard: str) -> int:
        path = self._version.lake / shard
        published = self._version.shard_files.get(shard)
        if published is None or not path.resolve().is_relative_to(self._version.lake):
            raise UserError(
                f"The index names the shard {shard}, the manifest does not; publish the version again."
            )
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
        return os.open(path, os.O_RDONLY)

    def close(self) -> None:
        """Close all shards; they open again when needed."""
        with self._lock:
            for descriptor in self._open.values():
                os.close(descriptor)
            self._open.clear()
