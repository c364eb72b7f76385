"""A lake as one run sees it: what there is in short, and the payloads of the stages when their turn comes.

Planning reads a few columns of the demonstrations, never their tracks: 200,000 outlines take less than a second and
100 MB, where the rows behind them are gigabytes. Outlines are named tuples, which are made several times as fast as
data classes.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Self

from data_schemas.camera import CameraMotion
from data_schemas.cues import ObjectTrack, WristTrack
from data_schemas.demonstrations import Demonstration
from data_schemas.pairs import Alignment
from data_schemas.storage import location
from pipelines.engine.lake import Lake
from pipelines.inputs import Annotated, PairInput, TrackInput, VerdictInput, VideoInput
from pipelines.late_cues import own_ids
from pipelines.pairing import Pair, Pairing, pair_up
from pipelines.runs import RunRecord, read_sources
from pipelines.shards.subjects import ShardOutline, Subject


class Outline(NamedTuple):
    """What planning needs of a demonstration."""

    item_id: str
    """Of the clip it was read from."""
    demonstration_id: str
    dataset: str
    embodiment: str
    source: str
    pair_key: str | None


class SubjectOutline(NamedTuple):
    """What planning needs of a pair, or of a demonstration without partner."""

    subject_id: str
    kind: str
    """`pair`, `human` or `robot`."""
    dataset: str
    pair_key: str | None
    human: Outline | None
    robot: Outline | None
    missing_half: bool

    @property
    def reference(self) -> Outline:
        """Whose time line it is: the robot's in a pair."""
        outline = self.robot or self.human
        assert outline is not None, f"subject {self.subject_id} has no side"
        return outline

    @property
    def sides(self) -> list[Outline]:
        """Those that are there."""
        return [side for side in (self.human, self.robot) if side is not None]


class RunView:
    """The rows of one run's clips under the run's keys.

    Args:
        keys: stage name -> key.
        sources: item ids of the clips; called once ingestion is over.
        moving: embodiments that are filmed by a moving camera.
    """

    def __init__(
        self,
        lake: Lake,
        raw_root: Path,
        keys: Mapping[str, str],
        sources: Callable[[], Sequence[str]],
        moving: Collection[str] = (),
    ) -> None:
        self._lake, self._raw_root, self._keys = lake, raw_root, keys
        self._sources, self._moving = sources, moving

    @classmethod
    def of(cls, lake: Lake, run: RunRecord) -> Self:
        """What a recorded run saw."""
        moving = run.recipe.get("camera", {}).get("moving", ())
        return cls(lake, location(run.raw_root), run.stage_keys, lambda: read_sources(lake, run), moving)

    @cached_property
    def outlines(self) -> dict[str, Outline]:
        """By demonstration id, in the order of the ids.

        Copies of a video that are one demonstration (see `datasets.revisions`) are that of the first pair by key, so that a
        pair and its copy under another key do not end with a half each.
        """
        order = ("demonstration_id", "pair_key", "item_id")
        columns = self._lake.columns(
            Demonstration, self._keys["ingest"], Outline._fields, self._sources(), order
        )
        outlines: dict[str, Outline] = {}
        for outline in map(Outline, *columns):
            outlines.setdefault(outline.demonstration_id, outline)
        return outlines

    @cached_property
    def pairing(self) -> Pairing[Outline]:
        return pair_up(self.outlines.values())

    @cached_property
    def pairs(self) -> dict[str, Pair[Outline]]:
        """By pair id."""
        own = self._own_ids
        return dict(sorted((own.get(pair.pair_id, pair.pair_id), pair) for pair in self.pairing.pairs))

    @cached_property
    def subjects(self) -> dict[str, SubjectOutline]:
        """All that is judged and published, by subject id."""
        found = {
            i: SubjectOutline(i, "pair", robot.dataset, robot.pair_key, human, robot, False)
            for i, (human, robot) in self.pairs.items()
        }
        for missing_half, group in ((True, self.pairing.missing_half), (False, self.pairing.singles)):
            for o in group:
                sides = (o, None) if o.embodiment == "human" else (None, o)
                subject_id = self._own_ids.get(o.demonstration_id, o.demonstration_id)
                found[subject_id] = SubjectOutline(
                    subject_id, o.embodiment, o.dataset, o.pair_key, *sides, missing_half
                )
        return dict(sorted(found.items()))

    @cached_property
    def _own_ids(self) -> dict[str, str]:
        """Of subjects of which a cue came late."""
        pairs = ((pair.pair_id, pair.sides) for pair in self.pairing.pairs)
        others = ((o.demonstration_id, [o]) for o in (*self.pairing.missing_half, *self.pairing.singles))
        return own_ids(self._lake, self._keys, chain(pairs, others))

    # === Payloads of the stages, by item id ===

    def videos(self, ids: Sequence[str]) -> dict[str, VideoInput]:
        """For the wrists."""
        return {i: VideoInput(row, self._raw_root) for i, row in self._demonstrations(ids).items()}

    def tracks(self, ids: Sequence[str]) -> dict[str, TrackInput]:
        """For the objects."""
        wrists = self._lake.read(WristTrack, self._keys["wrist_tracks"], ids)
        return {i: TrackInput(row, self._raw_root, wrists[i]) for i, row in self._demonstrations(ids).items()}

    def pair_inputs(self, ids: Sequence[str]) -> dict[str, PairInput]:
        """For the alignment."""
        clips = self._annotated(side for i in ids for side in (self.pairs[i].human, self.pairs[i].robot))
        return {
            i: PairInput(
                i,
                clips[self.pairs[i].human.demonstration_id],
                clips[self.pairs[i].robot.demonstration_id],
            )
            for i in ids
        }

    def verdict_inputs(self, ids: Sequence[str]) -> dict[str, VerdictInput]:
        """For the verdicts."""
        outlines = [self.subjects[i] for i in ids]
        clips = self._annotated(side for outline in outlines for side in outline.sides)
        alignments = self._lake.read(Alignment, self._keys["alignments"], ids)
        return {
            o.subject_id: VerdictInput(
                o.subject_id,
                clips[o.human.demonstration_id] if o.human else None,
                clips[o.robot.demonstration_id] if o.robot else None,
                alignments.get(o.subject_id),
                o.missing_half,
            )
            for o in outlines
        }

    def shard_inputs(
        self, shards: Iterable[ShardOutline[SubjectOutline]]
    ) -> dict[str, ShardOutline[Subject]]:
        """For the shards."""
        chosen = list(shards)
        rows = self.verdict_inputs([s.subject_id for shard in chosen for s in shard.subjects])
        found = {}
        for shard in chosen:
            subjects = tuple(
                Subject(s.subject_id, s.kind, row.human, row.robot, row.alignment)
                for s in shard.subjects
                for row in [rows[s.subject_id]]
            )
            found[shard.shard_id] = ShardOutline(shard.dataset, shard.kind, shard.split, subjects)
        return found

    def _demonstrations(self, ids: Iterable[str]) -> dict[str, Demonstration]:
        items = [self.outlines[i].item_id for i in ids]
        rows = self._lake.read(Demonstration, self._keys["ingest"], items).values()
        return {row.demonstration_id: row for row in rows}

    def _annotated(self, outlines: Iterable[Outline]) -> dict[str, Annotated]:
        """Clips with all their cues, by demonstration id."""
        ids = sorted({outline.demonstration_id for outline in outlines})
        wrists = self._lake.read(WristTrack, self._keys["wrist_tracks"], ids)
        objects = self._lake.read(ObjectTrack, self._keys["object_tracks"], ids)
        cameras = self._lake.read(CameraMotion, self._keys["camera_motion"], ids)
        rows = self._demonstrations(ids)
        for i, row in rows.items():
            if row.embodiment in self._moving and i not in cameras:  # or it would count as standing still
                cameras[i] = CameraMotion.unknown(i, row.num_frames)
        return {
            i: Annotated(row, self._raw_root, wrists.get(i), objects.get(i), cameras.get(i))
            for i, row in rows.items()
        }
