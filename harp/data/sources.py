"""What the sampler draws from: the sources of a recipe, as pools of pairs and of single demonstrations."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from data_schemas.errors import UserError
from data_schemas.identity import content_id
from harp.data.config import DataConfig, SourceConfig
from harp.data.mixture import Pool, as_written
from harp.data.version import Kind, PublishedVersion, Subject


@dataclass(frozen=True)
class Clip:
    """A subject and what it is used as: the half of a pair may stand for a single demonstration."""

    subject: Subject
    kind: Kind


def pools(version: PublishedVersion, config: DataConfig) -> tuple[list[Pool[Clip]], list[Pool[Clip]]]:
    """(pools of pairs, pools of singles), one of each per source.

    Args:
        version: of the run, opened together with the other versions that the sources name.

    Raises:
        UserError: a source that selects nothing, two that select the same subject, a subject that the version of
            the run holds out.
    """
    pairs, singles = [], []
    for i, source in enumerate(config.sources or (SourceConfig(),)):
        subjects = _select(version.part(source.version), source)
        name = f"Source {i + 1} of data.sources ({_describe(source)})"
        if config.sources and not subjects:
            raise UserError(
                f"{name} selects no training subject of two frames or more; there is {version.describe()}."
            )
        used, left = split_pairs([s for s in subjects if s.kind == "pair"], config.paired_fraction)
        single = [Clip(s, s.kind) for s in subjects if s.kind != "pair"]
        if config.unused_pairs == "unpaired":
            single += [Clip(s, kind) for s in left for kind in ("human", "robot")]
        pairs.append(Pool(f"{name}: its pairs", source.weight, [Clip(s, "pair") for s in used]))
        singles.append(Pool(f"{name}: its single demonstrations", source.weight, single))
    _check_apart(version, [clip for pool in (*pairs, *singles) for clip in pool.members])
    return pairs, singles


def split_pairs(pairs: Sequence[Subject], fraction: float) -> tuple[list[Subject], list[Subject]]:
    """(used, left out): the share with the smallest hashes, rounded up, each in the order given."""
    ranked = sorted(pairs, key=lambda pair: content_id("paired fraction", pair.subject_id))
    used = {pair.subject_id for pair in ranked[: math.ceil(as_written(fraction) * len(pairs))]}
    return [p for p in pairs if p.subject_id in used], [p for p in pairs if p.subject_id not in used]


def _select(version: PublishedVersion, source: SourceConfig) -> list[Subject]:
    return [
        subject
        for subject in version.subjects("train", *source.kinds)
        # One frame holds no transition.
        if subject.num_frames >= 2 and (not source.datasets or subject.segments[0].dataset in source.datasets)
    ]


def _check_apart(version: PublishedVersion, clips: Sequence[Clip]) -> None:
    drawn = Counter((clip.subject.subject_id, clip.kind) for clip in clips)
    twice = next((subject for (subject, _), number in drawn.items() if number > 1), None)
    if twice:
        raise UserError(f"Two of data.sources select the same subject, {twice}; give each data once.")
    held_out = {subject.subject_id for subject in version.subjects("held_out")}
    leaked = next((subject for subject, _ in drawn if subject in held_out), None)
    if leaked:
        raise UserError(
            f"A source trains on {leaked}, which version {version.version_id} holds out for evaluation; "
            "take that data from the version itself."
        )


def _describe(source: SourceConfig) -> str:
    parts = [", ".join(source.kinds), *(["of " + ", ".join(source.datasets)] if source.datasets else [])]
    return " ".join([*parts, *([f"in {source.version}"] if source.version else [])])
