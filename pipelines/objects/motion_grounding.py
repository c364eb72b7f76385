"""The weight-free grounder: the manipulated object is what the hand went to and what is elsewhere afterwards.

Every region of the early view is scored by three kinds of evidence: it changed for good (`moved`), the
agent's tip was at it when it was first disturbed (`reached`), and the tip dwelt there (`dwelt`). A pressed
button does not move; then the dwell decides, with a lower score. Where the phrase names a colour, regions of other
colours count less, which tells the button from what else the hand was near. The winner is cut out by GrabCut and its
box is given in the first frame that shows it unobstructed.

Without a wrist track there is no telling the object from the arm, which moves as well: on real clips the
change alone chose the arm in most cases, so nothing is found then.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from pipelines.objects.agent import AgentPath, agent_path
from pipelines.objects.base import GroundedBox, GroundingRequest, ObjectGrounder
from pipelines.objects.colour import channel_range, largest_channel
from pipelines.objects.colour_words import colour_likeness, named_colour
from pipelines.objects.proposals import Proposal, boundary_ring, compactness, propose
from pipelines.objects.scene_change import SHADOW_SPREAD, Views, sample_clip, scene_views

REACH = {"human": 0.07, "robot": 0.05}
"""Distance from the tip at which evidence falls to 0.6, as a share of the longer side."""
MIN_SEEN = 3
"""Sampled frames in which the wrist must be known."""
COLOURED_SHARE = 0.12
"""Share of a thing that has to have the colour it is named by: a red button is red on top."""
OTHER_COLOUR = 0.25
"""What is left of the score of a region that has nothing of the named colour: light and cameras deceive."""
WHOLE_AREA = 0.006
"""Share of the picture below which a region is rather a part of an object."""


@dataclass(frozen=True)
class Evidence:
    """What speaks for one proposal, each 0 to 1."""

    moved: float
    reached: float
    dwelt: float
    shape: float
    coloured: float = 1.0
    """How surely it is of the colour that the phrase names; 1 where it names none."""

    @property
    def handled(self) -> float:
        """How surely the agent handled it, whatever it looks like."""
        return (0.15 + 0.85 * self.reached) * (0.05 + 0.35 * self.dwelt + 0.6 * self.moved)

    @property
    def score(self) -> float:
        return (OTHER_COLOUR + (1 - OTHER_COLOUR) * self.coloured) * self.colourless

    @property
    def colourless(self) -> float:
        """The score of a thing of any colour."""
        return self.shape * self.handled


class MotionGrounder(ObjectGrounder):
    """Finds the thing that the agent moved or touched; needs no weights, and of the phrase only the colour."""

    model = "motion-grounding@4"

    def __init__(self, min_score: float = 0.08) -> None:
        self.min_score = min_score

    def ground(self, requests: Sequence[GroundingRequest]) -> list[GroundedBox | None]:
        return [self._ground(request) for request in requests]

    def _ground(self, request: GroundingRequest) -> GroundedBox | None:
        video = request.video
        if len(video) < 2:
            return None
        views = scene_views(*sample_clip(video))
        path = agent_path(views, request.wrist, request.embodiment)
        if np.isfinite(path.wrists).all(axis=1).sum() < MIN_SEEN:
            return None
        reach = REACH[request.embodiment]
        changed = change_for_good(views, path)
        colour = named_colour(request.phrase)
        likeness = colour_likeness(views.early.astype(np.uint8), colour) if colour else None
        scored = []
        for proposal in propose(views):
            evidence = weigh(proposal, views, path, changed, reach)
            if likeness is not None:
                share = float(likeness[proposal.mask].mean()) / COLOURED_SHARE
                evidence = replace(evidence, coloured=min(1.0, share))
            scored.append((evidence, proposal))
        if not scored:
            return None
        evidence, best = max(scored, key=lambda pair: pair[0].score)
        if evidence.colourless < self.min_score:
            return None
        best = whole(best, evidence, scored)
        sample = int(np.median(views.early_start[best.mask]))
        mask = cut_out(views.early, best.mask)
        full = cv2.resize(mask.astype(np.uint8), (video.width, video.height), interpolation=cv2.INTER_NEAREST)
        ys, xs = np.nonzero(full)
        box = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32)
        return GroundedBox(
            box, int(views.indices[sample]), float(evidence.score), self.model, full.astype(bool)
        )


def change_for_good(views: Views, path: AgentPath) -> np.ndarray:
    """(h, w) 0 to 1: how surely a pixel's early view is gone at the end.

    What looks like a shadow counts a quarter. What is connected with the arm's place at the end counts half:
    the early view may only be hidden.
    """
    changed = views.difference > views.step
    weight = views.lasting * changed * np.where(views.shaded, 0.25, 1.0)
    known = np.flatnonzero(np.isfinite(path.tips).all(axis=1))
    ending = known[known >= 0.9 * len(views.indices)]
    if len(ending):
        _, labels = cv2.connectedComponents(changed.astype(np.uint8))
        limit = np.array(labels.shape[::-1]) - 1
        xs, ys = np.clip(np.round(path.arm(ending[-1:])), 0, limit).astype(int).T
        arm = np.unique(labels[ys, xs])
        weight[np.isin(labels, arm[arm > 0])] *= 0.5
    return weight


def weigh(proposal: Proposal, views: Views, path: AgentPath, changed: np.ndarray, reach: float) -> Evidence:
    """Evidence for one proposal; `changed` is `change_for_good`, `reach` a share of the longer side."""
    mask = proposal.mask
    last = len(views.indices) - 1
    left = 2 * proposal.contrast / max(proposal.contrast + proposal.late_contrast, 1.0)
    moved = float(changed[mask].mean()) * min(1.0, left)
    shape = min(1.0, proposal.compactness / 0.6) * min(1.0, proposal.contrast / 20.0)
    shape *= min(1.0, proposal.area / (WHOLE_AREA * mask.size)) ** 0.5
    if mask[0].any() or mask[:, 0].any() or mask[:, -1].any():
        shape *= 0.4
    appears = float(np.median(views.early_start[mask]))
    shape *= np.exp(-appears / (0.4 * last))
    known = np.flatnonzero(np.isfinite(path.tips).all(axis=1))
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)
    begin = known[np.abs(known - appears) <= max(2, np.abs(known - appears).min())]
    vanishes = float(np.median(views.early_end[mask]))
    if vanishes < known[0] and known[0] > appears:
        return Evidence(moved, 0.0, 0.0, 0.0)  # Gone before the wrist was first seen: the hand itself.
    if _distance(outside, path.arm(begin)).min() < 0.02 * max(mask.shape):
        return Evidence(moved, 0.0, 0.0, 0.0)
    near = np.exp(-0.5 * (_distance(outside, path.tips[known]) / (reach * max(mask.shape))) ** 2)
    weights = path.dwell[known]
    dwelt = float((weights * near).sum() / max(weights.sum(), 1e-9))
    return Evidence(moved, float(near.max()), dwelt, shape)


def whole(best: Proposal, evidence: Evidence, scored: list[tuple[Evidence, Proposal]]) -> Proposal:
    """The object that `best` is a part of, if one was proposed: a button's base around its cap.

    Of something that moved, all of the whole must have moved as well; of another colour the rest may be.
    """
    wholes = [
        proposal
        for other, proposal in scored
        if best.area < proposal.area <= 6 * best.area
        and proposal.compactness > 0.6
        and np.count_nonzero(proposal.mask & best.mask) > 0.8 * best.area
        and (evidence.moved < 0.3 or other.moved > 0.8 * evidence.moved)
        and other.colourless > 0.4 * evidence.colourless
    ]
    return min(wholes, key=lambda proposal: proposal.area, default=best)


def _distance(outside: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(P,) distance from `points` (P, 2) to a region, given its distance transform `outside`."""
    limit = np.array(outside.shape[::-1]) - 1
    inside = np.clip(np.round(points), 0, limit).astype(int)
    return outside[inside[:, 1], inside[:, 0]] + np.hypot(*(points - inside).T)


def cut_out(early: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """Refine `seed` to the object's outline in the early view by GrabCut in a window around it.

    GrabCut may grow a part (the strip that a pushed object uncovered) to the whole; a result that leaves
    most of the seed, grows it far or makes it ragged is a leak, and the seed is kept.
    """
    ys, xs = np.nonzero(seed)
    margin = max(8, int(max(np.ptp(xs), np.ptp(ys))))
    top, left = max(0, ys.min() - margin), max(0, xs.min() - margin)
    window = np.s_[top : ys.max() + margin + 1, left : xs.max() + margin + 1]
    inside = seed[window]
    labels = np.where(inside, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[cv2.erode(inside.astype(np.uint8), np.ones((3, 3))) > 0] = cv2.GC_FGD
    labels[~boundary_ring(inside, 0, margin // 2 + 2) & ~inside] = cv2.GC_BGD
    image = np.ascontiguousarray(early[window].astype(np.uint8)[..., ::-1])
    if not (labels == cv2.GC_BGD).any() or not inside.any():
        return seed
    cv2.setRNGSeed(0)
    cv2.grabCut(image, labels, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), 2, cv2.GC_INIT_WITH_MASK)
    found = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    count, parts = cv2.connectedComponents(found.astype(np.uint8))
    touching = np.unique(parts[inside & found])
    found = np.isin(parts, touching[touching > 0]) & (count > 1)
    if not 0.6 * inside.sum() <= found.sum() <= 2.5 * inside.sum():
        return seed
    if compactness(found) < 0.9 * compactness(inside):
        return seed
    refined = np.zeros_like(seed)
    refined[window] = found
    return without_shadow(early, refined)


def without_shadow(early: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`mask` without the shadow that its object throws: the ring's colour darkened by one factor."""
    ring = boundary_ring(mask)
    if not ring.any():
        return mask
    ratio = (early + 8.0) / (np.median(early[ring], axis=0) + 8.0)
    shadow = (largest_channel(ratio) < 0.95) & (channel_range(ratio) < SHADOW_SPREAD)
    rest = cv2.morphologyEx((mask & ~shadow).astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(rest, connectivity=4)
    largest = labels == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA]) if len(stats) > 1 else mask
    return largest if np.count_nonzero(largest) > 0.4 * np.count_nonzero(mask) else mask
