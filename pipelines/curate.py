"""The curation of one data set, as plain calls: from raw files to a published version.

    raw files ─ ingest ─► demonstrations ─► wrist tracks ─► object tracks ─► alignments ─► verdicts ─► shards ─► version

Every step reads the rows of earlier steps from the lake, computes what has no row under its key yet, and
commits as it goes. Running again does nothing; a changed setting recomputes its step and what follows.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from data_schemas.cues import ObjectTrack, WristTrack
from data_schemas.demonstrations import Demonstration
from data_schemas.pairs import Alignment, Shard, Verdict
from data_schemas.versions import Manifest
from pipelines.alignment.stage import AlignStage
from pipelines.datasets.ingest import IngestStage, source_item
from pipelines.engine.executors import Executor
from pipelines.engine.lake import Lake
from pipelines.engine.runner import run_stage
from pipelines.engine.stage import Item, Stage
from pipelines.engine.summary import StageSummary
from pipelines.inputs import Annotated, PairInput, TrackInput, VerdictInput, VideoInput
from pipelines.objects.stage import ObjectStage
from pipelines.pairing import Pairing, pair_up
from pipelines.quality.verdict import VerdictStage
from pipelines.recipe import CurateRecipe
from pipelines.runs import RunRecord, StageRecord, new_run_id, save_run
from pipelines.shards.publish import publish
from pipelines.shards.stage import ShardStage, Subject, shard_items
from pipelines.wrists.stage import WristStage

Progress = Callable[[str, int, int], None]
"""Called with (stage, items finished, items in all)."""


class Curation:
    """One run of one recipe over one raw root; its methods are the steps, in the order of `STEPS`."""

    def __init__(
        self,
        recipe: CurateRecipe,
        raw_root: Path,
        lake: Lake,
        executor: Executor,
        limit: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.recipe, self.raw_root, self.lake, self.executor = recipe, raw_root, lake, executor
        self.limit, self.progress = limit, progress
        self.keys: dict[str, str] = {}
        self.record = RunRecord(
            run_id=new_run_id(recipe.dataset),
            dataset=recipe.dataset,
            recipe=recipe.model_dump(mode="json"),
            raw_root=str(raw_root),
            executor=type(executor).__name__,
            started_at=datetime.now(UTC).isoformat(),
        )

    # === The steps ===

    def ingest(self) -> StageSummary:
        """Find the clips, check them, index their frames."""
        clips = list(self.recipe.make_reader().discover(self.raw_root))[: self.limit]
        items = [source_item(clip, self.raw_root) for clip in clips]
        self.record.sources = [item.item_id for item in items]
        return self._run(IngestStage(self.recipe.ingest), items, upstream=[])

    def find_wrists(self) -> StageSummary:
        """Human wrist by detection, robot end effector by projection."""
        items = [
            Item(d.demonstration_id, d.source, VideoInput(d, self.raw_root)) for d in self.demonstrations
        ]
        return self._run(WristStage(self.recipe.wrists), items, upstream=["ingest"])

    def track_objects(self) -> StageSummary:
        """Keypoints of the manipulated object, found near where the wrist dwelt."""
        items = [
            Item(d.demonstration_id, d.source, TrackInput(d, self.raw_root, self.wrists[d.demonstration_id]))
            for d in self.demonstrations
            if d.demonstration_id in self.wrists
        ]
        return self._run(ObjectStage(self.recipe.objects), items, upstream=["ingest", "wrist_tracks"])

    def align(self) -> StageSummary:
        """Match every robot frame with a human frame."""
        items = [
            Item(
                p.pair_id,
                p.robot.source,
                PairInput(p.pair_id, self._annotated(p.human), self._annotated(p.robot)),
            )
            for p in self.pairing.pairs
        ]
        return self._run(
            AlignStage(self.recipe.alignment), items, ["ingest", "wrist_tracks", "object_tracks"]
        )

    def judge(self) -> StageSummary:
        """Decide, with named reasons, what may be published."""
        items = [Item(subject.subject_id, label, subject) for label, subject in self._subjects()]
        upstream = ["ingest", "wrist_tracks", "object_tracks", "alignments"]
        return self._run(VerdictStage(self.recipe.verdict), items, upstream)

    def write_shards(self) -> StageSummary:
        """Aligned frames and cues of everything accepted, as WebDataset tars."""
        verdicts = self.lake.read(Verdict, self.keys["verdicts"])
        subjects = [
            Subject(s.subject_id, verdicts[s.subject_id].kind, s.human, s.robot, s.alignment)
            for _, s in self._subjects()
            if s.subject_id in verdicts and verdicts[s.subject_id].accepted
        ]
        items = shard_items(subjects, self.recipe.shards)
        self._shards = [item.item_id for item in items]
        upstream = ["ingest", "wrist_tracks", "object_tracks", "alignments", "verdicts"]
        return self._run(ShardStage(self.recipe.shards, self.lake.root), items, upstream)

    def publish(self) -> Manifest:
        """Name the shards as one immutable version; the same content gives the same version."""
        shards = self.lake.read(Shard, self.keys["shards"], self._shards)
        manifest, self.record.version_is_new = publish(
            self.lake, self.recipe.dataset, list(shards.values()), self.keys, self.record.recipe
        )
        self.record.version_id = manifest.version_id
        self.record.finished_at = datetime.now(UTC).isoformat()
        save_run(self.lake, self.record)
        return manifest

    # === What the steps share ===

    @cached_property
    def demonstrations(self) -> list[Demonstration]:
        """This run's demonstrations; two files of equal content are one demonstration."""
        rows = self.lake.read(Demonstration, self.keys["ingest"], self.record.sources)
        unique = {d.demonstration_id: d for d in rows.values()}
        return [unique[i] for i in sorted(unique)]

    @cached_property
    def wrists(self) -> dict[str, WristTrack]:
        return self.lake.read(WristTrack, self.keys["wrist_tracks"])

    @cached_property
    def objects(self) -> dict[str, ObjectTrack]:
        return self.lake.read(ObjectTrack, self.keys["object_tracks"])

    @cached_property
    def pairing(self) -> Pairing:
        return pair_up(self.demonstrations)

    def _annotated(self, demonstration: Demonstration) -> Annotated:
        i = demonstration.demonstration_id
        return Annotated(demonstration, self.raw_root, self.wrists.get(i), self.objects.get(i))

    def _subjects(self) -> Iterator[tuple[str, VerdictInput]]:
        alignments = self.lake.read(Alignment, self.keys["alignments"])
        for pair in self.pairing.pairs:
            halves = self._annotated(pair.human), self._annotated(pair.robot)
            yield pair.robot.source, VerdictInput(pair.pair_id, *halves, alignments.get(pair.pair_id), False)
        for missing_half, group in ((True, self.pairing.missing_half), (False, self.pairing.singles)):
            for demonstration in group:
                clip = self._annotated(demonstration)
                human = clip if demonstration.embodiment == "human" else None
                robot = clip if demonstration.embodiment == "robot" else None
                subject = VerdictInput(demonstration.demonstration_id, human, robot, None, missing_half)
                yield demonstration.source, subject

    def _run(self, stage: Stage, items: Sequence[Item], upstream: Sequence[str]) -> StageSummary:
        def progress(finished: int, total: int) -> None:
            if self.progress is not None:
                self.progress(stage.name, finished, total)

        summary = run_stage(
            stage,
            items,
            self.lake,
            self.executor,
            upstream=[self.keys[name] for name in upstream],
            progress=progress,
            run_id=self.record.run_id,
            max_failed_fraction=self.recipe.max_failed_fraction,
        )
        self.keys[stage.name] = summary.key
        counts = {name: getattr(summary, name) for name in StageRecord.model_fields if name != "name"}
        self.record.stages.append(StageRecord(name=stage.name, **counts))
        save_run(self.lake, self.record)
        return summary


STEPS = (
    Curation.ingest,
    Curation.find_wrists,
    Curation.track_objects,
    Curation.align,
    Curation.judge,
    Curation.write_shards,
)


def curate(curation: Curation) -> Manifest:
    """All steps of a curation, one after the other."""
    for step in STEPS:
        step(curation)
    return curation.publish()
