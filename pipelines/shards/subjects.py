"""What a shard holds, which subjects share one, and which are held out.

Subjects are put into shards by the bits of a hash: all in one bucket, and a bucket that overflows is split in two by the next
bit. The result depends on the set of subjects alone. Adding one rewrites the shard it falls into, or splits it; no
other changes, where filling shards in order would rewrite all that follow. The price is that shards are on
average 70 % full.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Generic, Protocol, TypeVar

from data_schemas.demonstrations import Demonstration
from data_schemas.identity import content_id, content_ids
from data_schemas.pairs import Alignment
from pipelines.inputs import Annotated


class Placed(Protocol):
    """What decides into which shard a subject goes: a `Subject`, or its outline."""

    @property
    def subject_id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def dataset(self) -> str: ...
    @property
    def pair_key(self) -> str | None: ...


P = TypeVar("P", bound=Placed)

_split_id, _bucket_id = content_ids("split"), content_ids("bucket")


@dataclass(frozen=True)
class Subject:
    """A pair with its alignment, or a demonstration without partner."""

    subject_id: str
    kind: str
    """`pair`, `human` or `robot`."""
    human: Annotated | None
    robot: Annotated | None
    alignment: Alignment | None

    @property
    def reference(self) -> Demonstration:
        """Whose time line it is: the robot's in a pair."""
        clip = self.robot or self.human
        assert clip is not None, f"subject {self.subject_id} has no side"
        return clip.demonstration

    @property
    def demonstrations(self) -> list[Demonstration]:
        """Of the sides that are there, the reference first."""
        return [clip.demonstration for clip in (self.robot, self.human) if clip is not None]

    @property
    def dataset(self) -> str:
        return self.reference.dataset

    @property
    def pair_key(self) -> str | None:
        return self.reference.pair_key

    @property
    def license(self) -> str:
        """Of all that is in it; an SPDX expression where the halves' licences differ."""
        return " AND ".join(sorted({d.license for d in self.demonstrations}))


@dataclass(frozen=True)
class ShardOutline(Generic[P]):
    """Subjects of one data set, kind and split that share a tar."""

    dataset: str
    kind: str
    split: str
    subjects: tuple[P, ...]

    @property
    def shard_id(self) -> str:
        """Follows from what the shard is to hold."""
        members = (subject.subject_id for subject in self.subjects)
        return content_id("shard", self.dataset, self.kind, self.split, *members)

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.dataset} {self.split} {self.kind} shard of {len(self.subjects)}"


ShardInput = ShardOutline[Subject]


def split_of(subject: Placed, held_out_fraction: float) -> str:
    """`train` or `held_out`, by a hash of the scene in the pair key, so that all cameras of a scene share the split.

    A demonstration that was never meant to be paired always trains. One that lost its partner follows its pair
    key, since other cameras may show the same scene.
    """
    if subject.kind != "pair" and subject.pair_key is None:
        return "train"
    scene = (subject.pair_key or subject.subject_id).rsplit("/", 1)[0]
    name = _split_id(subject.dataset, scene)
    return "held_out" if int(name, 16) / 2**64 < held_out_fraction else "train"


def bucket(subjects: Sequence[P], capacity: int) -> Iterator[tuple[P, ...]]:
    """Groups of at most `capacity` subjects, each in order of their ids; no empty group."""
    hashed = [(int(_bucket_id(subject.subject_id), 16), subject) for subject in subjects]
    hashed.sort(key=itemgetter(0))
    hashes = [number for number, _ in hashed]
    for start, stop in _split(hashes, 0, len(hashes), capacity, 1 << 63):
        yield tuple(sorted((subject for _, subject in hashed[start:stop]), key=lambda s: s.subject_id))


def _split(
    hashes: Sequence[int], start: int, stop: int, capacity: int, bit: int
) -> Iterator[tuple[int, int]]:
    """Ranges of sorted hashes that are small enough; those between start and stop are equal above the bit."""
    if stop - start > capacity:
        first_with_bit = hashes[start] & -2 * bit | bit
        middle = bisect_left(hashes, first_with_bit, start, stop)
        yield from _split(hashes, start, middle, capacity, bit >> 1)
        yield from _split(hashes, middle, stop, capacity, bit >> 1)
    elif stop > start:
        yield start, stop
