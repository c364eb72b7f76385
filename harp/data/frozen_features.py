"""Features of the frozen encoder, computed once and kept on disk.

The frozen path F(·) never changes, so its features are data. Kept are the pooled feature of every frame of both sides of
the training pairs (f^H and f^{R0} of the alignment loss need no more), and, within a size limit, the patch tokens
of the human frames (the latent action model reads those). A training step then runs the ViT for the robot alone.

Files are mapped, not loaded: memory does not grow with the version. `harp.data.feature_build` makes them, and says how they
are named and what their rows are.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from data_schemas.errors import UserError
from data_schemas.samples import SampleIndex
from harp.data.feature_build import Encode, FeaturePlan, Progress, build
from harp.data.sampling import ClipDraw
from harp.data.shards import ShardReader
from harp.data.version import PublishedVersion

__all__ = ["Encode", "FrozenFeatures", "Progress"]

OPEN_FILES = 128
"""Shards whose feature files stay mapped."""


class FrozenFeatures:
    """Reads the kept features; safe to share among threads. `prepare` makes what is missing."""

    def __init__(self, plan: FeaturePlan | None) -> None:
        self.has_tokens = plan is not None and plan.keep_tokens
        self._plan = plan
        self._shards = {shard.shard: shard for shard in plan.shards} if plan else {}
        self._map = lru_cache(2 * OPEN_FILES)(self._open)
        self._rows = lru_cache(OPEN_FILES)(lambda shard: self._shards[shard].rows())

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
            version: whose training samples are encoded, those of the versions beside it as well.
            encode: frozen encoder.
            identity: of the encoder, its input size and its precision: other features, other identity.
            folder: where the features of all versions and encoders lie.
            max_token_bytes: patch tokens of the human frames are kept if they all fit in here.
        """
        plan = FeaturePlan.make(
            version, reader, encode, identity=identity, folder=folder, max_token_bytes=max_token_bytes
        )
        if plan:
            build(plan, reader, encode, progress)
        return cls(plan)

    def pooled(self, draw: ClipDraw, side: str) -> torch.Tensor:
        """Patch means (F, D) float32 of all frames of a draw."""
        return self._read("pooled", draw, side, slice(None))

    def human_tokens(self, draw: ClipDraw, part: slice) -> torch.Tensor:
        """Patch tokens (n, P, D) bfloat16 of the frames `draw.frames[part]`."""
        return self._read("tokens", draw, "human", part).view(torch.bfloat16)

    def _read(self, what: str, draw: ClipDraw, side: str, part: slice) -> torch.Tensor:
        places = map(draw.subject.locate, draw.frames[part])
        rows = [self._row(what, segment, side, local) for segment, local in places]
        return torch.from_numpy(np.stack(rows) if rows else self._no_rows(what))

    def _no_rows(self, what: str) -> np.ndarray:
        """(0, D) or (0, P, D), so that it stacks and joins like a selection that has frames."""
        assert self._plan is not None
        P, D = self._plan.patches
        return np.empty((0, D), np.float32) if what == "pooled" else np.empty((0, P, D), np.int16)

    def _row(self, what: str, segment: SampleIndex, side: str, local: int) -> np.ndarray:
        return self._map(what, segment.shard)[self._rows(segment.shard)[what, segment.key, side] + local]

    def _open(self, what: str, shard: str) -> np.ndarray:
        assert self._plan is not None
        path = self._plan.path(self._shards[shard], what)
        expected = self._plan.shape(self._shards[shard], what)
        try:
            features = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UserError(
                f"The frozen features in {path} cannot be read ({error}); remove the file."
            ) from None
        if features.shape != expected:
            raise UserError(
                f"The frozen features in {path} have shape {features.shape}, expected {expected}; remove the file."
            )
        return features
