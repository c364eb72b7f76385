"""Features of the frozen encoder, computed once per version and kept on disk.

The frozen path F(·) never changes, so its features are data. Kept are the pooled feature of every frame of both sides of
the training pairs (f^H and f^{R0} of the alignment loss need no more), and, within a size limit, the patch tokens
of the human frames (the latent action model reads those). A training step then runs the ViT for the robot alone.

Files lie in `<folder>/<version>-<encoder identity>/`, one pair of safetensors files per shard, each written under another
name and renamed, so that a killed run keeps the finished shards and continues with the rest.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from data_schemas.identity import content_id
from data_schemas.samples import SampleIndex
from harp.data.sampling import ClipDraw
from harp.data.shards import ShardReader
from harp.data.version import PublishedVersion
from harp.losses.pooling import pool_patches

logger = logging.getLogger(__name__)

Encode = Callable[[torch.Tensor], torch.Tensor]
"""(n, H, W, 3) uint8 RGB frames → (n, P, D) patch tokens of the frozen encoder."""
Progress = Callable[[int, int], None]
"""Called with (samples done, samples in all)."""

FRAMES_PER_CALL = 64


class FrozenFeatures:
    """Reads the kept features; `prepare` makes them."""

    def __init__(self, folder: Path, shards: Sequence[str], has_tokens: bool) -> None:
        self.has_tokens = has_tokens
        self._pooled: dict[str, torch.Tensor] = {}
        self._tokens = {}
        self._token_file: dict[str, str] = {}
        for shard in shards:
            pooled_path, token_path = _paths(folder, shard)
            self._pooled |= load_file(pooled_path)
            if has_tokens:
                self._tokens[shard] = safe_open(token_path, "pt")
                self._token_file |= dict.fromkeys(self._tokens[shard].keys(), shard)

    @classmethod
    def prepare(
        cls,
        version: PublishedVersion,
        reader: ShardReader,
        encode: Encode,
        *,
        identity: str,
        folder: Path,
        max_token_bytes: int,
        progress: Progress = lambda done, total: None,
    ) -> "FrozenFeatures":
        """Compute what is missing on disk, then open all of it.

        Args:
            encode: frozen encoder.
            identity: of the encoder, its input size and its precision: other features, other identity.
            folder: where the features of all versions and encoders lie.
            max_token_bytes: patch tokens of the human frames are kept if they all fit in here.
        """
        samples = [s for subject in version.subjects("train") for s in subject.segments if _sides(s)]
        if not samples:
            return cls(folder, [], has_tokens=False)
        probe = encode(torch.from_numpy(reader.frames(samples[0], _sides(samples[0])[0], [0])))
        human_frames = sum(sample.num_frames for sample in samples if "human" in _sides(sample))
        keep_tokens = human_frames * probe[0].numel() * 2 <= max_token_bytes
        folder = folder / f"{version.version_id}-{content_id(identity, str(keep_tokens))}"
        by_shard: dict[str, list[SampleIndex]] = defaultdict(list)
        for sample in samples:
            by_shard[sample.shard].append(sample)
        missing = [shard for shard in by_shard if not all(p.is_file() for p in _paths(folder, shard))]
        if missing:
            logger.info("Frozen features of %d samples go to %s", len(samples), folder)
        done = sum(len(by_shard[shard]) for shard in by_shard if shard not in missing)
        for shard in missing:
            pooled, tokens = {}, {}
            for sample in by_shard[shard]:
                for side in _sides(sample):
                    features = _encode_all(sample, side, reader, encode)
                    pooled[f"{sample.key}.{side}"] = pool_patches(features)
                    if keep_tokens and side == "human":
                        tokens[sample.key] = features.bfloat16()
                done += 1
                progress(done, len(samples))
            for path, tensors in zip(_paths(folder, shard), (pooled, tokens), strict=True):
                _write(path, tensors)
        (folder / "identity.json").write_text(
            json.dumps({"version": version.version_id, "encoder": identity})
        )
        return cls(folder, list(by_shard), keep_tokens)

    def pooled(self, draw: ClipDraw, side: str) -> torch.Tensor:
        """Patch means (F, D) float32 of all frames of a pair's draw."""
        places = (draw.subject.locate(frame) for frame in draw.frames)
        return torch.stack([self._pooled[f"{segment.key}.{side}"][local] for segment, local in places])

    def human_tokens(self, draw: ClipDraw, part: slice) -> torch.Tensor:
        """Patch tokens (n, P, D) bfloat16 of the frames `draw.frames[part]`."""
        places = (draw.subject.locate(frame) for frame in draw.frames[part])
        return torch.cat([self._token_slice(segment, local) for segment, local in places])

    def _token_slice(self, segment: SampleIndex, local: int) -> torch.Tensor:
        file = self._tokens[self._token_file[segment.key]]
        return file.get_slice(segment.key)[local : local + 1]


def _sides(sample: SampleIndex) -> tuple[str, ...]:
    """Sides whose frozen features training needs: a single robot clip is only ever seen adapted."""
    return {"pair": ("human", "robot"), "human": ("human",), "robot": ()}[sample.kind]


def _encode_all(sample: SampleIndex, side: str, reader: ShardReader, encode: Encode) -> torch.Tensor:
    parts = []
    for first in range(0, sample.num_frames, FRAMES_PER_CALL):
        indices = range(first, min(first + FRAMES_PER_CALL, sample.num_frames))
        parts.append(encode(torch.from_numpy(reader.frames(sample, side, indices))))
    return torch.cat(parts)


def _paths(folder: Path, shard: str) -> tuple[Path, Path]:
    stem = f"{Path(shard).stem}-{content_id(shard)}"
    return folder / f"{stem}.pooled.safetensors", folder / f"{stem}.tokens.safetensors"


def _write(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial)
    partial.replace(path)
