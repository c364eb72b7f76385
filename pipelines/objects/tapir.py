"""TAPIR (Doersch et al. 2023) through `tapnet`'s torch model: the paper's tracker.

A query's features are taken once, from its own frame; every chunk of the clip is then matched against them.
So chunks are independent of each other: nothing drifts from one to the next, and a point that was hidden for
a whole chunk is found again by the same global matching that found it at first. Chunks overlap, and each
keeps only frames that have half an overlap of context on both sides, which the temporal convolutions need.
Memory is bounded by the chunk, whatever the clip's length.

*Convention*: TAPIR's coordinates are raster coordinates of the resized square, in which the centre of pixel
i is i + 0.5; ours are pixels of the original frame, in which it is i.
"""

import importlib.util
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch

from data_schemas.errors import UserError
from pipelines.objects import weights
from pipelines.objects.base import FrameSource, PointTracker, PointTracks
from pipelines.objects.config import TapirConfig
from pipelines.objects.occlusion import hide_stragglers
from pipelines.objects.torch_device import best_device, inference

INSTALL = "pip install --no-deps 'tapnet @ git+https://github.com/google-deepmind/tapnet' && pip install einshape dm-tree"
QUERY_CHUNK = 64
"""Points whose cost volumes are in memory at a time."""


class Tapir(PointTracker):
    """BootsTAPIR: every estimate sees the past and the future within its chunk."""

    checkpoint = "bootstapir"
    causal = False

    def __init__(self, config: TapirConfig | None = None) -> None:
        self.config = config or TapirConfig()
        self.model = weights.model_id(self.checkpoint)

    def check(self) -> None:
        if importlib.util.find_spec("tapnet") is None:
            raise UserError(
                f"The tracker TAPIR needs the package tapnet, which is not installed: `{INSTALL}`."
            )
        weights.require(self.checkpoint)

    def load(self) -> None:
        self.check()
        from tapnet.torch.tapir_model import TAPIR

        (file,) = weights.require(self.checkpoint).glob("*.pt")
        network = TAPIR(pyramid_level=1, use_casual_conv=self.causal)
        network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
        self.use(network)

    def use(self, network: torch.nn.Module) -> None:
        """Run `network`, a `tapnet.torch.tapir_model.TAPIR`."""
        self._device = best_device()
        self._network: Any = network.eval().to(self._device)

    def track(self, video: FrameSource, queries: np.ndarray) -> PointTracks:
        """Track `queries`, (N, 3) frame index, x, y, through all frames.

        Visibility is TAPIR's: (1 - σ(occlusion)) (1 - σ(expected distance)), visible above 0.5; see
        `occlusion.hide_stragglers` for frames in which next to nothing of the object shows.
        """
        resizing = Resizing(video.width, video.height, self.config.resolution)
        with inference(self._device):
            points, visibility = self._tracks(video, queries, resizing)
        visibility = hide_stragglers(visibility, self.config.min_visible)
        points = resizing.to_frame(points)
        given = queries[:, 0].astype(int), np.arange(len(queries))
        points[given], visibility[given] = queries[:, 1:], 1.0
        return PointTracks(points, visibility, self.model)

    def _tracks(
        self, video: FrameSource, queries: np.ndarray, resizing: "Resizing"
    ) -> tuple[np.ndarray, np.ndarray]:
        """(T, N, 2) raster coordinates of the resized frames and (T, N) visibility."""
        features = self._query_features(video, queries, resizing)
        points = np.empty((len(video), len(queries), 2), np.float32)
        visibility = np.empty(points.shape[:2], np.float32)
        for read, keep in chunks(len(video), self.config.chunk, self.config.overlap):
            frames = self._pictures(video, list(read), resizing)
            found = self._estimate(frames, features)
            inside = slice(keep.start - read.start, keep.stop - read.start)
            points[keep.start : keep.stop], visibility[keep.start : keep.stop] = (a[inside] for a in found)
        return points, visibility

    def _query_features(self, video: FrameSource, queries: np.ndarray, resizing: "Resizing") -> Any:
        """Descriptors of the points (N, 3), each from its own frame."""
        starts = np.unique(queries[:, 0]).astype(int).tolist()
        frames = self._pictures(video, starts, resizing)
        places = resizing.to_model(queries[:, 1:])
        times = np.searchsorted(starts, queries[:, 0])
        tyx = torch.from_numpy(np.column_stack([times, places[:, ::-1]]).astype(np.float32))[None]
        grids = self._network.get_feature_grids(frames, is_training=False)
        return self._network.get_query_features(frames, False, tyx.to(self._device), grids)

    def _estimate(self, frames: torch.Tensor, features: Any) -> tuple[np.ndarray, np.ndarray]:
        """(t, N, 2) raster coordinates and (t, N) visibility in `frames` (1, t, S, S, 3)."""
        grids = self._network.get_feature_grids(frames, is_training=False)
        found = self._network.estimate_trajectories(
            tuple(frames.shape[2:4]), False, grids, features, None, query_chunk_size=QUERY_CHUNK
        )
        return self._last(found)

    def _last(self, found: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """The refined estimates, averaged over resolutions as `TAPIR.forward` does."""
        step = self._network.num_pips_iter
        points, occlusion, distance = (
            torch.stack(found[name][step::step]).mean(dim=0)[0].float()
            for name in ("tracks", "occlusion", "expected_dist")
        )
        visibility = (1 - torch.sigmoid(occlusion)) * (1 - torch.sigmoid(distance))
        return points.transpose(0, 1).cpu().numpy(), visibility.T.cpu().numpy()

    def _pictures(self, video: FrameSource, indices: Sequence[int], resizing: "Resizing") -> torch.Tensor:
        """(1, t, S, S, 3) float in [-1, 1]."""
        frames = np.stack([resizing.picture(frame) for frame in video.frames(indices)])
        return torch.from_numpy(frames)[None].to(self._device).float() / 255 * 2 - 1


class Resizing:
    """Frames of width x height squeezed into a square, as in TAPIR's training, and the way back."""

    def __init__(self, width: int, height: int, side: int) -> None:
        self.side = side
        self.scale = side / np.array([width, height], float)

    def picture(self, frame: np.ndarray) -> np.ndarray:
        """(side, side, 3) uint8."""
        method = cv2.INTER_AREA if self.scale.max() < 1 else cv2.INTER_LINEAR
        return cv2.resize(frame, (self.side, self.side), interpolation=method)

    def to_model(self, points: np.ndarray) -> np.ndarray:
        """Raster coordinates of the square for pixels (…, 2) of the frame."""
        return (points + 0.5) * self.scale

    def to_frame(self, points: np.ndarray) -> np.ndarray:
        """Inverse of `to_model`."""
        return (points / self.scale - 0.5).astype(np.float32)


def chunks(length: int, size: int, overlap: int) -> Iterator[tuple[range, range]]:
    """Pairs (frames to read, frames to keep); what is kept covers all frames once.

    Raises:
        ValueError: the overlap leaves nothing to keep.
    """
    margin = overlap // 2
    if size <= 2 * margin:
        raise ValueError(f"chunks of {size} frames cannot overlap by {overlap}")
    begin = 0
    while begin < length:
        first = max(0, begin - margin)
        last = min(length, first + size)
        end = last if last == length else last - margin
        yield range(first, last), range(begin, end)
        begin = end
