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

import cv2
import numpy as np

from pipelines.objects.base import FrameSource, PointTracker, PointTracks
from pipelines.objects.object_canvas import SIZE, Canvas, register, scale_of, shows
from pipelines.objects.template_search import search

LOST = 0.3
"""Share of the object that must show for its motion to be trusted."""
FOUND = 0.65
"""Share of the object that must show for a lost object to count as found again."""
CHUNK = 32
"""Frames decoded at a time: bounds the memory on long videos."""


TURNS = (0.0, 90.0, -90.0)
"""Turns in the image plane, degrees, under which a lost object is searched."""
TURN_EVERY = 3
"""Turns are tried in one of this many searches: they triple its cost."""
TURN_PENALTY = 0.15
"""How much more of the object must show under a turn than without: plain objects fit at any turn."""
SETTLED = 0.75
"""Share of the object that must show before its view replaces the recent template."""


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


class ObjectFollower:
    """One object followed in one direction of time; `step` takes the frames in that order."""

    def __init__(self, first: np.ndarray, places: np.ndarray) -> None:
        self.places = places
        self.canvas = Canvas.around(places)
        self.height, self.width = first.shape[:2]
        self.first = first
        self.motion = np.eye(3)
        self.velocity = np.zeros(2)
        self.query_view = self.canvas.view(first, self.motion)
        self.recent_view = self.last_view = self.query_view
        self.shown = self.canvas.outline
        self.lost = False
        self.searches = 0
        grown = cv2.dilate(self.canvas.outline.astype(np.uint8), np.ones((7, 7), np.uint8))
        ys, xs = np.nonzero(grown)
        stride = max(1, round(np.sqrt(len(xs) / 50)))
        grid = (ys % stride == 0) & (xs % stride == 0)
        self.support = np.stack([xs[grid], ys[grid]], axis=1).astype(np.float32)

    def step(self, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points (N, 2) and visibility (N,) in the next frame."""
        candidates = [] if self.lost else self._follow(frame)
        motion, shown = self._best(frame, candidates)
        share = self._share(shown)
        if share < (FOUND if self.lost else LOST):
            motion, shown = self._best(frame, self._find(frame))
            share = self._share(shown)
            self.velocity[:] = 0
            if share < FOUND:
                self.lost = True
                return self._points(self.motion), np.full(len(self.places), 0.05, np.float32)
        if not self.lost:
            centre = self.places.mean(axis=0, keepdims=True)
            self.velocity = (_apply(motion, centre) - _apply(self.motion, centre))[0]
        self.lost = False
        self.motion, self.shown = motion, shown
        self.last_view = self.canvas.view(frame, motion)
        if share > SETTLED:
            self.recent_view = self.last_view
        return self._points(motion), self._visibility(motion, shown, share)

    def _follow(self, frame: np.ndarray) -> list[np.ndarray]:
        """Motions by registration from the last one, with and without the last velocity."""
        near_shown = cv2.dilate(self.shown.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        seen = self.support[near_shown[self.support[:, 1].astype(int), self.support[:, 0].astype(int)]]
        motions = []
        predictions = [self.motion]
        if np.hypot(*self.velocity) > 1:
            predictions.append(_shifted(self.motion, self.velocity))
        for prediction in predictions:
            view = self.canvas.view(frame, prediction)
            residual = register(self.last_view, view, seen)
            if residual is None or not 0.9 < scale_of(residual) < 1.1:
                continue
            moved = self.canvas.correct(prediction, residual)
            motions.append(moved)
            motions += self._refine(frame, moved)
        return [motion for motion in motions if self._plausible(motion)]

    def _refine(self, frame: np.ndarray, motion: np.ndarray) -> list[np.ndarray]:
        """`motion` registered anew to the query's view, which does not drift."""
        residual = register(self.query_view, self.canvas.view(frame, motion), self.support)
        if residual is None or not 0.85 < scale_of(residual) < 1.18:
            return []
        return [self.canvas.correct(motion, residual)]

    def _find(self, frame: np.ndarray) -> list[np.ndarray]:
        """Places in the whole frame that look like the object, except things that were there all along."""
        templates = [self.query_view]
        if self.recent_view is not self.query_view:
            templates.append(self.recent_view)
        found, found_share = [], -1.0
        self.searches += 1
        for turn in TURNS if self.searches % TURN_EVERY == 0 else TURNS[:1]:
            motions = [
                motion
                for template in templates
                for motion in search(frame, self.canvas, template, self._turned(turn))
                if self._plausible(motion) and not self._was_there(frame, motion)
            ]
            best, shown = self._best(frame, motions)
            share = self._share(shown) - (TURN_PENALTY if turn else 0)
            if motions and share > found_share:
                found, found_share = [best], share
        return found + [refined for motion in found for refined in self._refine(frame, motion)]

    def _turned(self, degrees: float) -> np.ndarray:
        """The last motion, turned in place."""
        turn = np.eye(3)
        centre = _apply(self.motion, self.places.mean(axis=0, keepdims=True))[0]
        turn[:2] = cv2.getRotationMatrix2D(centre.tolist(), degrees, 1.0)
        return turn @ self.motion

    def _was_there(self, frame: np.ndarray, motion: np.ndarray) -> bool:
        """Whether the query frame shows the same thing at a place where the object was not."""
        centre = self.places.mean(axis=0, keepdims=True)
        size = np.ptp(self.places, axis=0).max()
        if np.hypot(*(_apply(motion, centre) - centre)[0]) < 0.5 * size:
            return False
        same = shows(self.canvas.view(frame, motion), self.canvas.view(self.first, motion))
        return self._share(same) > FOUND

    def _plausible(self, motion: np.ndarray) -> bool:
        x, y = _apply(motion, self.places).mean(axis=0)
        return 0.6 < scale_of(motion) < 1.7 and 0 <= x < self.width and 0 <= y < self.height

    def _best(self, frame: np.ndarray, motions: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The motion under which most of the object shows, and where it shows."""
        best, best_shown, best_share = self.motion, np.zeros_like(self.canvas.outline), -1.0
        for motion in motions:
            view = self.canvas.view(frame, motion)
            shown = shows(view, self.query_view)
            if self.recent_view is not self.query_view:
                shown = shown | shows(view, self.recent_view)
            shown &= self.canvas.outline
            if self._share(shown) > best_share:
                best, best_shown, best_share = motion, shown, self._share(shown)
        return best, best_shown

    def _share(self, shown: np.ndarray) -> float:
        return np.count_nonzero(shown & self.canvas.outline) / np.count_nonzero(self.canvas.outline)

    def _points(self, motion: np.ndarray) -> np.ndarray:
        return _apply(motion, self.places).astype(np.float32)

    def _visibility(self, motion: np.ndarray, shown: np.ndarray, share: float) -> np.ndarray:
        """Share of the object around each point that shows, steepened; 0.05 outside the frame."""
        window = SIZE // 4 | 1
        around = cv2.blur(shown.astype(np.float32), (window, window))
        object_around = cv2.blur(self.canvas.outline.astype(np.float32), (window, window))
        limit = np.array(self.canvas.shape[::-1]) - 1
        xs, ys = np.clip(np.round(self.canvas.place(self.places)), 0, limit).astype(int).T
        local = around[ys, xs] / np.maximum(object_around[ys, xs], 1e-6)
        probability = 1 / (1 + np.exp(-12 * (local - 0.7))) * min(1.0, share / 0.5)
        points = _apply(motion, self.places)
        inside = (points >= 0).all(axis=1) & (points[:, 0] < self.width) & (points[:, 1] < self.height)
        return np.where(inside, probability, 0.05).astype(np.float32)


def _decode(video: FrameSource, indices: range) -> Iterator[tuple[int, np.ndarray]]:
    """Frames in the order of `indices` (a step of 1 or -1), decoded in chunks."""
    for begin in range(0, len(indices), CHUNK):
        chunk = indices[begin : begin + CHUNK]
        frames = video.frames(sorted(chunk))
        yield from zip(chunk, frames if indices.step > 0 else frames[::-1], strict=True)


def _apply(motion: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ motion[:2, :2].T + motion[:2, 2]


def _shifted(motion: np.ndarray, shift: np.ndarray) -> np.ndarray:
    moved = motion.copy()
    moved[:2, 2] += shift
    return moved
