"""Weight-free point tracking: Lucas–Kanade on a stabilised view, with occlusion and re-appearance.

The queries of one frame belong to one object; it moves as a similarity, which carries the points through
frames in which some of them are hidden. Per frame: predict, register to the last view (small steps) and to
the query's view (no drift), each by pyramidal Lucas–Kanade with forward–backward check; compare the colours;
a point is visible where the pixels around it still look like the object. When too little of the object
shows, it is lost: the points keep their last place as a best estimate, invisible, and every frame is
searched for the object's template until it is found again, at rest or moved.

A similarity cannot follow an object that turns over or bends; a second, recent template keeps such objects
for as long as they change slowly.
"""

from collections.abc import Iterator

import numpy as np

from pipelines.objects.base import FrameSource, PointTracker, PointTracks
from pipelines.objects.object_follower import ObjectFollower

CHUNK = 32
"""Frames decoded at a time: bounds the memory on long videos."""


class LucasKanade(PointTracker):
    """Tracks points of one object by group motion; see the module's text."""

    model = "lucas-kanade@1"

    def track(self, video: FrameSource, queries: np.ndarray) -> PointTracks:
        """Track `queries`, (N, 3) frame index, x, y, both ways in time.

        Queries of one frame are points of one object; queries of another frame are another object.
        """
        points = np.full((len(video), len(queries), 2), np.nan, np.float32)
        visibility = np.zeros(points.shape[:2], np.float32)
        for start in np.unique(queries[:, 0]).astype(int):
            group = np.flatnonzero(queries[:, 0] == start)
            places = queries[group, 1:].astype(np.float64)
            first = video.frames([start])[0]
            for indices in (range(start, len(video)), range(start - 1, -1, -1)):
                follower = ObjectFollower(first, places)
                for index, frame in _decode(video, indices):
                    points[index, group], visibility[index, group] = follower.step(frame)
        return PointTracks(points, visibility, self.model)


def _decode(video: FrameSource, indices: range) -> Iterator[tuple[int, np.ndarray]]:
    """Frames in the order of `indices` (a step of 1 or -1), decoded in chunks."""
    for begin in range(0, len(indices), CHUNK):
        chunk = indices[begin : begin + CHUNK]
        frames = video.frames(sorted(chunk))
        yield from zip(chunk, frames if indices.step > 0 else frames[::-1], strict=True)
