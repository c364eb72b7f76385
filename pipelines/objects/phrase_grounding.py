"""Grounding by a phrase: the box of the manipulated object at its first occurrence (paper A.1).

    frames every `stride`, of all demonstrations ─ detector, batched ─► candidates ─ motion near the wrist ─► one
    ─ bisection between the last frame without and the first frame with it ─► first occurrence

A detector finds all cups; the manipulated one is the cup that the agent reached and that is gone from its
place afterwards, by the evidence of `motion_grounding`. Where the wrist is unknown the detector's score
decides. A thing that shows only later (brought in by the hand) is found in a later scanned frame; bisection
assumes that between two scanned frames it appears once, and that what was there before it stays where it was.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from pipelines.objects.agent import agent_path
from pipelines.objects.base import GroundedBox, GroundingRequest, ObjectGrounder
from pipelines.objects.keypoints import foreground
from pipelines.objects.motion_grounding import MIN_SEEN, REACH, change_for_good, weigh
from pipelines.objects.phrase_detector import Detection, PhraseDetector
from pipelines.objects.proposals import describe
from pipelines.objects.scene_change import sample_clip, scene_views

VERSION = "phrase-grounding@2"
ANYTHING = "object"
"""Asked for where no one named the object."""
SAME = 0.4
"""Overlap (intersection over union) from which two boxes at different times are one candidate."""
PRIOR = 0.1
"""Weight of a candidate that shows no sign of having been handled."""
MAX_SCANNED = 32
"""Frames of a clip that are looked at; longer clips are scanned with a larger stride."""
MAX_CANDIDATES = 8


@dataclass(frozen=True)
class Candidate:
    """One thing that answers the phrase, where it was first seen."""

    detection: Detection
    frame: int
    before: int
    """The scanned frame before, which does not show it; -1 for none."""
    others: Sequence[Detection] = ()
    """What that frame shows instead."""

    def among(self, detections: Sequence[Detection]) -> Detection | None:
        """This thing in a frame between the two: the nearest of what was not there before."""
        new = [d for d in detections if not any(overlap(d.box, other.box) > SAME for other in self.others)]
        return max(new, key=lambda d: (overlap(d.box, self.detection.box), d.score), default=None)


class PhraseGrounder(ObjectGrounder):
    """Finds the thing that a phrase names, and which of several was handled."""

    def __init__(self, detector: PhraseDetector, stride: int = 15) -> None:
        self.detector = detector
        self.model = f"{detector.model}+{VERSION}"
        self.stride = stride

    def check(self) -> None:
        self.detector.check()

    def load(self) -> None:
        self.detector.load()

    def ground(self, requests: Sequence[GroundingRequest]) -> list[GroundedBox | None]:
        scanned = [_scan(len(request.video), self.stride) for request in requests]
        looks = [(i, frame) for i, frames in enumerate(scanned) for frame in frames]
        found: dict[int, dict[int, list[Detection]]] = defaultdict(dict)
        for (i, frame), detections in zip(looks, self._detect(requests, looks), strict=True):
            found[i][frame] = detections
        chosen = [choose(request, candidates(found[i])) for i, request in enumerate(requests)]
        return [
            GroundedBox(one.detection.box, one.frame, one.detection.score, self.model) if one else None
            for one in self._first_occurrences(requests, chosen)
        ]

    def _first_occurrences(
        self, requests: Sequence[GroundingRequest], chosen: Sequence[Candidate | None]
    ) -> list[Candidate | None]:
        """Candidates moved to the first frame that shows them; each round halves the gaps of all clips at once."""
        current = list(chosen)
        while True:
            looks = [
                (i, (one.before + one.frame) // 2)
                for i, one in enumerate(current)
                if one is not None and 0 <= one.before < one.frame - 1
            ]
            if not looks:
                return current
            for (i, frame), detections in zip(looks, self._detect(requests, looks), strict=True):
                one = current[i]
                assert one is not None
                earlier = one.among(detections)
                if earlier is None:
                    current[i] = replace(one, before=frame, others=detections)
                else:
                    current[i] = replace(one, detection=earlier, frame=frame)

    def _detect(
        self, requests: Sequence[GroundingRequest], looks: Sequence[tuple[int, int]]
    ) -> list[list[Detection]]:
        """Detections in (request, frame) pairs; every clip is decoded once."""
        wanted: dict[int, list[int]] = defaultdict(list)
        for i, frame in looks:
            wanted[i].append(frame)
        frames = [frame for i, indices in wanted.items() for frame in requests[i].video.frames(indices)]
        return self.detector.detect(frames, [requests[i].phrase or ANYTHING for i, _ in looks])


def _scan(length: int, stride: int) -> list[int]:
    """Frames to look at: every `stride`, at most `MAX_SCANNED`, and the first."""
    return list(range(0, length, max(stride, -(-length // MAX_SCANNED))))


def candidates(found: dict[int, list[Detection]]) -> list[Candidate]:
    """Distinct things among the detections of scanned frames, each where it was first seen."""
    things: list[Candidate] = []
    before = -1
    for frame in sorted(found):
        for detection in found[frame]:
            if not any(overlap(detection.box, thing.detection.box) > SAME for thing in things):
                things.append(Candidate(detection, frame, before, found.get(before, ())))
        before = frame
    return things[:MAX_CANDIDATES]


def choose(request: GroundingRequest, things: Sequence[Candidate]) -> Candidate | None:
    """The candidate that was handled: detector's score times evidence of motion near the wrist."""
    if len(things) < 2:
        return things[0] if things else None
    video = request.video
    views = scene_views(*sample_clip(video))
    path = agent_path(views, request.wrist, request.embodiment)
    if np.isfinite(path.wrists).all(axis=1).sum() < MIN_SEEN:
        return max(things, key=lambda thing: (-thing.frame, thing.detection.score))
    changed = change_for_good(views, path)
    early, late = (cv2.cvtColor(v.astype(np.uint8), cv2.COLOR_RGB2LAB) for v in (views.early, views.late))

    def score(thing: Candidate) -> float:
        frame = cv2.resize(video.frames([thing.frame])[0], early.shape[1::-1], interpolation=cv2.INTER_AREA)
        mask = foreground(frame, thing.detection.box * views.scale)
        evidence = weigh(describe(mask, early, late), views, path, changed, REACH[request.embodiment])
        return thing.detection.score * (PRIOR + evidence.handled)

    return max(things, key=score)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    both = float(np.prod(np.clip(high - low, 0, None)))
    return both / max(float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - both, 1e-9)
