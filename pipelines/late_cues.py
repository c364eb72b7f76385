"""Cues that are not there when the stages that read them run, and cues that come after all.

A cue stage that failed on a demonstration for now, as when a worker died, is tried again by the next run: until then the
demonstration's subjects wait, so that the tables end as if nothing had failed. One that failed for good is done without.
If an operator requeues it later and it succeeds, its subjects have been aligned and judged without that cue. Rows are
never taken back; a subject therefore gets an id of its own, which says what came late. Everything that follows is
computed for it, versions published before keep what they had, and later runs find the same ids.

The same holds of a pair's alignment, which the verdict reads: the pair is not judged while its alignment will be tried
again, and one that was judged without gets an id of its own once that is requeued.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from data_schemas.camera import CameraMotion
from data_schemas.cues import ObjectTrack, WristTrack
from data_schemas.identity import content_id
from data_schemas.pairs import Alignment, Verdict
from data_schemas.row import Row
from pipelines.engine.lake import Lake
from pipelines.engine.ledger import setbacks, unsolved
from pipelines.pairing import Half

CUES: dict[str, type[Row]] = {
    "wrist_tracks": WristTrack,
    "camera_motion": CameraMotion,
    "object_tracks": ObjectTrack,
}
"""Stage -> its rows, one a demonstration."""
READERS: dict[str, type[Row]] = {"alignments": Alignment, "verdicts": Verdict}
"""Stage -> its rows, one a subject, which were computed from cues."""

Keys = Mapping[str, str]
"""Stage -> key; stages that a run did not reach may be missing."""


def waiting(lake: Lake, keys: Keys, stages: Iterable[str] = tuple(CUES)) -> set[str]:
    """Items that the next run will try again at one of the stages; those of cues are demonstrations."""
    entries = [entry for stage in stages if stage in keys for entry in unsolved(lake, keys[stage]).values()]
    return {entry.item_id for entry in entries if entry.retryable}


def own_ids(lake: Lake, keys: Keys, subjects: Iterable[tuple[str, Sequence[Half]]]) -> dict[str, str]:
    """Subject id -> the id that it has instead, of those that were decided on before a cue or their alignment came.

    Args:
        subjects: ids, with the demonstrations that each is made of.
    """
    came, unaligned = _came_late(lake, keys), _judged_unaligned(lake, keys)
    if not (came or unaligned):
        return {}
    sides_of = {i: [side.demonstration_id for side in sides] for i, sides in subjects}
    own = _by_late_cues(lake, keys, came, sides_of)
    for subject_id in sides_of:
        current = own.get(subject_id, subject_id)
        while (
            current in unaligned
        ):  # again, where the alignment under the new id failed for good and was requeued too
            own[subject_id] = current = content_id("late", current, "alignments")
    return own


def _by_late_cues(
    lake: Lake, keys: Keys, came: Mapping[str, Mapping[str, datetime]], sides_of: Mapping[str, list[str]]
) -> dict[str, str]:
    """`own_ids` of the subjects that were decided on before a cue came."""
    if not came:
        return {}
    affected = {i: sides for i, sides in sides_of.items() if not came.keys().isdisjoint(sides)}
    own = {}
    for subject_id, since in _decided(lake, keys, affected).items():
        late = sorted(
            f"{stage}:{side}"
            for side in affected[subject_id]
            for stage, when in came.get(side, {}).items()
            if when > since
        )
        if late:
            own[subject_id] = content_id("late", subject_id, *late)
    return own


def _came_late(lake: Lake, keys: Keys) -> dict[str, dict[str, datetime]]:
    """Demonstration -> cue stage -> when its row came, of the cues that had failed before."""
    came: dict[str, dict[str, datetime]] = {}
    for stage, row_class in CUES.items():
        if stage not in keys:
            continue
        failed = [i for i, entry in setbacks(lake, keys[stage]).items() if entry.outcome != "filtered"]
        for demonstration_id, when in _committed(lake, row_class, keys[stage], failed):
            came.setdefault(demonstration_id, {})[stage] = when
    return came


def _decided(lake: Lake, keys: Keys, subject_ids: Collection[str]) -> dict[str, datetime]:
    """When subjects were first aligned or judged, or found not to be alignable."""
    decided: dict[str, datetime] = {}
    for stage, row_class in READERS.items():
        if stage not in keys or not subject_ids:
            continue
        times = _committed(lake, row_class, keys[stage], subject_ids)
        entries = unsolved(lake, keys[stage])
        times += [(i, datetime.fromisoformat(entries[i].finished_at)) for i in subject_ids if i in entries]
        for subject_id, when in times:
            decided[subject_id] = min(when, decided.get(subject_id, when))
    return decided


def _judged_unaligned(lake: Lake, keys: Keys) -> set[str]:
    """Pairs that were judged without an alignment which has been, or will be, tried again since.

    By what stands in the tables and in which order, so that the clock of whoever requeued it does not count.
    """
    if not READERS.keys() <= keys.keys():
        return set()
    tried_again = [i for i, entry in setbacks(lake, keys["alignments"]).items() if entry.retryable]
    judged = dict(_committed(lake, Verdict, keys["verdicts"], tried_again))
    aligned = dict(_committed(lake, Alignment, keys["alignments"], list(judged)))
    return {i for i, when in judged.items() if i not in aligned or aligned[i] > when}


def _committed(
    lake: Lake, row_class: type[Row], key: str, item_ids: Collection[str]
) -> list[tuple[str, datetime]]:
    if not item_ids:
        return []
    ids, times = lake.columns(row_class, key, ["item_id", "committed_at"], item_ids)
    return list(zip(ids, times, strict=True))
