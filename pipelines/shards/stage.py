"""Writes shards: the last stage of a curation. One item is one shard, a group of accepted subjects."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import Field

from data_schemas.errors import BadInput
from data_schemas.pairs import Shard
from data_schemas.samples import SampleInfo
from data_schemas.storage import everywhere, location
from pipelines.engine.files import check_name
from pipelines.engine.stage import Done, Item, Outcome, Stage, StageConfig
from pipelines.engine.worker import failure
from pipelines.inputs import Annotated
from pipelines.shards.cues import action_arrays, side_arrays
from pipelines.shards.encode import encode_jpeg, encode_npz
from pipelines.shards.segments import plan_segments
from pipelines.shards.subjects import P, ShardInput, ShardOutline, Subject, bucket, split_of
from pipelines.shards.writer import write_shard
from pipelines.video import VideoReader, open_demonstration

Sample = tuple[SampleInfo, Mapping[str, bytes]]


class ShardConfig(StageConfig):
    """What is in a shard and how it is encoded."""

    held_out_fraction: float = Field(default=0.15, ge=0, le=1)
    """Of the pairs, by hash: a pair keeps its split when others come."""
    subjects_per_shard: int = Field(default=16, ge=1)
    """At most. 16 pairs of 64 frames are about 25 MB."""
    num_keypoints: int = Field(default=8, ge=0)
    """N_K of every sample; shorter tracks are filled up with unseen points."""
    jpeg_quality: int = Field(default=90, ge=1, le=95)
    max_pose_gap_s: float = Field(default=0.5, ge=0)
    """Actions between the robot's readings further apart are unknown, as in the projection of the end effector."""


def plan_shards(subjects: Sequence[P], config: ShardConfig) -> dict[str, ShardOutline[P]]:
    """Group subjects into shards of one data set, kind and split each; by shard id."""
    groups: dict[tuple[str, str, str], list[P]] = {}
    for subject in subjects:
        split = split_of(subject, config.held_out_fraction)
        groups.setdefault((subject.dataset, subject.kind, split), []).append(subject)
    shards = [
        ShardOutline(check_name("data set", dataset), kind, split, members)
        for (dataset, kind, split), group in sorted(groups.items())
        for members in bucket(group, config.subjects_per_shard)
    ]
    return {shard.shard_id: shard for shard in shards}


def shard_items(subjects: Sequence[Subject], config: ShardConfig) -> list[Item[ShardInput]]:
    """The items of subjects whose rows are at hand."""
    plan = plan_shards(subjects, config)
    return [Item(shard_id, shard.label, shard) for shard_id, shard in plan.items()]


class ShardStage(Stage[ShardInput, ShardConfig]):
    """Decodes, resizes and packs the frames of a shard's subjects with their cues.

    Args:
        root: of the lake; no part of the key, since shards lie at the same place below every root.
    """

    name = "shards"
    version = 2
    row = Shard

    def __init__(self, config: ShardConfig, root: Path | str) -> None:
        super().__init__(config)
        self._root = everywhere(location(root))  # workers run in other folders

    def process(self, batch: Sequence[ShardInput]) -> list[Outcome]:
        return [self._pack(shard) for shard in batch]

    def _pack(self, shard: ShardInput) -> Outcome:
        try:
            return Done(self._write(shard))
        except _BrokenSubject as broken:
            # The item is a whole shard: say which of its subjects is to blame, so that the rest can go on without it.
            failed, subject = failure(broken.error), broken.subject
            detail = f"{subject.reference.source}: {failed.detail}"
            return replace(failed, detail=detail, part=subject.subject_id)

    def _write(self, shard: ShardInput) -> Shard:
        samples = (sample for subject in shard.subjects for sample in self._samples(subject, shard.split))
        written = write_shard(self._root, f"shards/{shard.dataset}", f"{shard.split}-{shard.kind}", samples)
        return Shard(
            shard_id=shard.shard_id,
            path=written.path,
            sha256=written.sha256,
            num_bytes=written.num_bytes,
            num_samples=len(written.samples),
            num_frames=sum(sample.num_frames for sample in written.samples),
        )

    def _samples(self, subject: Subject, split: str) -> Iterator[Sample]:
        try:
            yield from self._segments(subject, split)
        except Exception as error:
            raise _BrokenSubject(subject, error) from error

    def _segments(self, subject: Subject, split: str) -> Iterator[Sample]:
        first = subject.reference
        segments = plan_segments(first.num_frames)
        with ExitStack() as videos:
            sides = [
                _Side(name, clip, frame_index, videos.enter_context(open_demonstration(clip)))
                for name, clip, frame_index in _frames(subject)
            ]
            for number, segment in enumerate(segments):
                info = SampleInfo(
                    key=f"{subject.subject_id}-{number:04d}",
                    kind=subject.kind,
                    split=split,
                    dataset=first.dataset,
                    subject_id=subject.subject_id,
                    human_id=subject.human.demonstration.demonstration_id if subject.human else None,
                    robot_id=subject.robot.demonstration.demonstration_id if subject.robot else None,
                    instruction=next((d.instruction for d in subject.demonstrations if d.instruction), ""),
                    task=first.task,
                    fps=first.fps,
                    license=subject.license,
                    segment=number,
                    num_segments=len(segments),
                    num_frames=len(segment),
                    num_keypoints=self.config.num_keypoints,
                )
                yield info, self._members(sides, segment)

    def _members(self, sides: Sequence["_Side"], segment: range) -> dict[str, bytes]:
        """Members of one sample by suffix."""
        cues: dict[str, np.ndarray] = {}
        members: dict[str, bytes] = {}
        for side in sides:
            frame_index = side.frame_index[segment.start : segment.stop]
            arrays = side_arrays(side.clip, frame_index, self.config.num_keypoints)
            cues |= {f"{side.name}_{name}": array for name, array in arrays.items()}
            for i, jpeg in enumerate(_jpegs(side.video, frame_index, self.config.jpeg_quality)):
                members[f"{side.name}.{i:04d}.jpg"] = jpeg
            if side.name == "robot":
                robot, gap = side.clip.demonstration, self.config.max_pose_gap_s
                members["actions.npz"] = encode_npz(action_arrays(robot, arrays["time"], gap))
        members["cues.npz"] = encode_npz(cues)
        return members


class _BrokenSubject(Exception):
    def __init__(self, subject: Subject, error: Exception) -> None:
        super().__init__(subject.subject_id)
        self.subject, self.error = subject, error


@dataclass(frozen=True)
class _Side:
    """One embodiment of a subject; `frame_index` (T,) is its frame at every step of the time line."""

    name: str
    clip: Annotated
    frame_index: np.ndarray
    video: VideoReader


def _frames(subject: Subject) -> Iterator[tuple[str, Annotated, np.ndarray]]:
    """(side, clip, its frame at every step of the subject's time line)."""
    length = subject.reference.num_frames
    if subject.robot is not None:
        yield "robot", subject.robot, np.arange(length)
    if subject.human is None:
        return
    if subject.robot is None:
        yield "human", subject.human, np.arange(length)
        return
    if subject.alignment is None:
        raise BadInput("no_alignment", "the pair has no alignment, so its frames cannot be put side by side")
    if len(subject.alignment.human_index) != length:
        found = len(subject.alignment.human_index)
        raise BadInput("track_length", f"alignment of {found} frames, robot video of {length}")
    yield "human", subject.human, subject.alignment.human_index


def _jpegs(video: VideoReader, frame_index: np.ndarray, quality: int) -> list[bytes]:
    """Encoded frames in the order of the index; a repeated frame is decoded and encoded once."""
    unique, inverse = np.unique(frame_index, return_inverse=True)
    encoded = [encode_jpeg(frame, quality) for frame in video.frames(unique.tolist())]
    return [encoded[i] for i in inverse]
