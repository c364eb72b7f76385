"""One object, known by a few points, followed frame by frame as a similarity; see `lucas_kanade`."""

import cv2
import numpy as np

from pipelines.objects.object_canvas import SIZE, TOLERANCE, Canvas, misfit, register, scale_of
from pipelines.objects.template_search import search

LOST = 0.35
"""Share of the object that must show for its motion to be trusted."""
FOUND = 0.7
"""Share of the object that must show for a lost object to count as found again."""
NEAR = 0.5
"""The same for an object that was followed until the last frame and lies within its own size of there."""
TURNS = (0.0, 90.0, -90.0)
"""Turns in the image plane, degrees, under which a lost object is searched."""
TURN_EVERY = 3
"""Turns are tried in one of this many searches: they triple its cost."""
TURN_PENALTY = 0.15
"""How much more of the object must show under a turn than without: plain objects fit at any turn."""
SETTLED = 0.85
"""Share of the object that must show before its view replaces the recent template."""
RECENT_HANDICAP = 4.0
"""Colour difference added to the recent template's, so that the query's view, which cannot drift, wins ties."""


class ObjectFollower:
    """One object followed in one direction of time; `step` takes the frames in that order."""

    def __init__(self, first: np.ndarray, places: np.ndarray) -> None:
        self.places = places
        self.size = max(6.0, float(np.ptp(places, axis=0).max()))
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
            if share < (NEAR if not self.lost and self._moved(self.motion, motion) < self.size else FOUND):
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
        if np.linalg.norm(self.velocity) > 1:
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
        if self._moved(np.eye(3), motion) < 0.5 * self.size:
            return False
        off = misfit(self.canvas.view(frame, motion), self.canvas.view(self.first, motion))
        return self._share(off < TOLERANCE) > FOUND

    def _moved(self, before: np.ndarray, after: np.ndarray) -> float:
        """Distance, pixels, between the object's places under two motions."""
        centre = self.places.mean(axis=0, keepdims=True)
        return float(np.hypot(*(_apply(after, centre) - _apply(before, centre))[0]))

    def _plausible(self, motion: np.ndarray) -> bool:
        x, y = _apply(motion, self.places).mean(axis=0)
        return 0.6 < scale_of(motion) < 1.7 and 0 <= x < self.width and 0 <= y < self.height

    def _best(self, frame: np.ndarray, motions: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The motion under which the colours agree best, and where on the object they agree."""
        best, best_shown, best_fit = self.motion, np.zeros_like(self.canvas.outline), -1.0
        for motion in motions:
            view = self.canvas.view(frame, motion)
            off = misfit(view, self.query_view)
            if self.recent_view is not self.query_view:
                off = np.minimum(off, RECENT_HANDICAP + misfit(view, self.recent_view))
            fit = float(np.clip(1 - off[self.canvas.outline] / TOLERANCE, 0, 1).mean())
            if fit > best_fit:
                best, best_shown, best_fit = motion, (off < TOLERANCE) & self.canvas.outline, fit
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


def _apply(motion: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ motion[:2, :2].T + motion[:2, 2]


def _shifted(motion: np.ndarray, shift: np.ndarray) -> np.ndarray:
    moved = motion.copy()
    moved[:2, 2] += shift
    return moved
