"""Causal TAPIR: frame by frame, in memory that does not grow with the clip.

It runs forward from the first query frame to the end, then backward to the beginning, from a fresh state.
Each estimate sees only the frames before it (in the direction of the run), so the non-causal model is more
accurate where a chunk of it fits into memory.
"""

from typing import Any

import numpy as np
import torch

from pipelines.objects.base import FrameSource
from pipelines.objects.tapir import QUERY_CHUNK, Resizing, Tapir


class CausalTapir(Tapir):
    """Causal BootsTAPIR."""

    checkpoint = "causal-bootstapir"
    causal = True

    def _tracks(
        self, video: FrameSource, queries: np.ndarray, resizing: Resizing
    ) -> tuple[np.ndarray, np.ndarray]:
        features = self._query_features(video, queries, resizing)
        points = np.empty((len(video), len(queries), 2), np.float32)
        visibility = np.empty(points.shape[:2], np.float32)
        for start in np.unique(queries[:, 0]).astype(int).tolist():
            group = np.flatnonzero(queries[:, 0] == start)
            own = _of(features, group)
            for run in (range(start, len(video)), range(start - 1, -1, -1)):
                state = self._initial_state(len(group), own)
                for begin in range(0, len(run), self.config.chunk):
                    part = run[begin : begin + self.config.chunk]
                    for index, frame in zip(part, self._in_order(video, part, resizing), strict=True):
                        found, state = self._step(frame, own, state)
                        points[index, group], visibility[index, group] = (a[0] for a in found)
        return points, visibility

    def _in_order(self, video: FrameSource, part: range, resizing: Resizing) -> torch.Tensor:
        """(t, 1, 1, S, S, 3): frames in the order of `part`, decoded forward."""
        frames = self._pictures(video, sorted(part), resizing)[0]
        return (frames if part.step > 0 else frames.flip(0))[:, None, None]

    def _initial_state(self, count: int, features: Any) -> list[dict[str, torch.Tensor]]:
        state = self._network.construct_initial_causal_state(count, len(features.resolutions) - 1)
        return [{name: value.to(self._device) for name, value in one.items()} for one in state]

    def _step(
        self, frame: torch.Tensor, features: Any, state: list[dict[str, torch.Tensor]]
    ) -> tuple[tuple[np.ndarray, np.ndarray], list[dict[str, torch.Tensor]]]:
        grids = self._network.get_feature_grids(frame, is_training=False)
        found = self._network.estimate_trajectories(
            tuple(frame.shape[2:4]),
            False,
            grids,
            features,
            None,
            query_chunk_size=QUERY_CHUNK,
            causal_context=state,
            get_causal_context=True,
        )
        return self._last(found), found["causal_context"]


def _of(features: Any, group: np.ndarray) -> Any:
    """Query features of some of the points."""
    take = torch.from_numpy(group)
    return features._replace(
        lowres=tuple(one[:, take.to(one.device)] for one in features.lowres),
        hires=tuple(one[:, take.to(one.device)] for one in features.hires),
    )
