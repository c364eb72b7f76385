"""The curation of one data set, as plain calls: from raw files to a published version.

    raw files ─ ingest ─► demonstrations ─► wrist tracks ─► object tracks ─► alignments ─► verdicts ─► shards ─► version
                                                 └─► camera motion (egocentric video) ─┘

Every step reads the rows of earlier steps from the lake, computes what has no row under its key yet, and
commits as it goes. Running again does nothing; a changed setting recomputes its step and what follows.
"""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import compress, islice
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

from data_schemas.cues import WristTrack
from data_schemas.pairs import Shard, Verdict
from data_schemas.storage import location
from data_schemas.versions import Manifest, latest_versions
from pipelines.alignment.stage import AlignStage
from pipelines.camera_motion.stage import CameraStage
from pipelines.datasets.base import no_clips
from pipelines.datasets.ingest import IngestStage, source_work
from pipelines.datasets.revisions import Revisions
from pipelines.engine.commits import Settle
from pipelines.engine.executors import Executor
from pipelines.engine.lake import Lake
from pipelines.engine.ledger import MAX_EXCEPTIONS, unsolved
from pipelines.engine.runner import run_stage
from pipelines.engine.stage import Stage
from pipelines.engine.summary import StageFailed, StageSummary
from pipelines.engine.work import CHUNK, Labels, Work
from pipelines.late_cues import CUES, waiting
from pipelines.objects.stage import ObjectStage
from pipelines.outlines import Outline, RunView, SubjectOutline
from pipelines.pairing import Pair
from pipelines.quality.verdict import VerdictStage
from pipelines.recipe import CurateRecipe
from pipelines.repetition import basis_of, repeated_run
from pipelines.reverted import reverted
from pipelines.runs import RunRecord, StageRecord, keep_sources, new_run_id, read_sources, save_run
from pipelines.shards.publish import publish, publish_again
from pipelines.shards.stage import ShardStage, plan_shards
from pipelines.wrists.stage import WristStage

logger = logging.getLogger(__name__)

S = TypeVar("S", Pair[Outline], SubjectOutline)

Progress = Callable[[str, int, int], None]
"""Called with (stage, items finished, items in all)."""

UPSTREAM: dict[str, tuple[str, ...]] = {
    "ingest": (),
    "wrist_tracks": ("ingest",),
    "camera_motion": ("ingest", "wrist_tracks"),
    "object_tracks": ("ingest", "wrist_tracks"),
    "alignments": ("ingest", "wrist_tracks", "camera_motion", "object_tracks"),
    "verdicts": ("ingest", "wrist_tracks", "camera_motion", "object_tracks", "alignments"),
    "shards": ("ingest", "wrist_tracks", "camera_motion", "object_tracks", "alignments", "verdicts"),
}
"""Stage -> the stages whose rows it reads, in the order they run."""


class Curation:
    """One run of one recipe over one raw root; its methods are the steps, in the order of `STEPS`.

    Args:
        limit: take only so many clips.
        recorded: keep a record of the run, by which others find its clips: `harp status`, `harp reprocess`.
    """

    def __init__(
        self,
        recipe: CurateRecipe,
        raw_root: Path | str,
        lake: Lake,
        executor: Executor,
        limit: int | None = None,
        progress: Progress | None = None,
        recorded: bool = True,
    ) -> None:
        # Records and workers are read and run in other folders.
        self.raw_root = location(raw_root).resolve()
        self.recipe, self.lake, self.executor = recipe, lake, executor
        self.limit, self.progress, self.recorded = limit, progress, recorded
        self.stages = make_stages(recipe, lake)
        self.keys = stage_keys(self.stages)
        self.record = RunRecord(
            run_id=new_run_id(recipe.dataset),
            dataset=recipe.dataset,
            recipe=recipe.model_dump(mode="json"),
            raw_root=str(self.raw_root),
            executor=type(executor).__name__,
            started_at=datetime.now(UTC).isoformat(),
        )
        self._repeated: RunRecord | None = None
        self.view = RunView(
            lake, self.raw_root, self.keys, lambda: read_sources(lake, self.record), recipe.camera.moving
        )

    # === The steps ===

    def ingest(self) -> None:
        """Find the clips, check them, index their frames.

        Raises:
            UserError: there are none, or a later stage lacks its model.
        """
        clips = islice(self.recipe.make_reader().discover(self.raw_root), self.limit)
        work = source_work(clips, self.raw_root)
        if not work.labels:
            raise no_clips(self.raw_root, self.recipe.dataset)
        self.record.sources = keep_sources(self.lake, work.labels)
        self.record.basis = basis_of(self.lake, self.record, self.stages, self.keys)
        self._repeated = repeated_run(self.lake, self.record)
        if not self._stands("ingest"):
            self._check_models()
            revisions = Revisions(self.lake, self.keys["ingest"], work.labels)
            self._run("ingest", work, settle=revisions.settle)

    def find_wrists(self) -> None:
        """Human wrist by detection, robot end effector by projection."""
        self._work_off("wrist_tracks")

    def follow_cameras(self) -> None:
        """The camera's own motion, where the recipe says that cameras move."""
        self._work_off("camera_motion")

    def track_objects(self) -> None:
        """Keypoints of the manipulated object, found near where the wrist dwelt."""
        self._work_off("object_tracks")

    def align(self) -> None:
        """Match every robot frame with a human frame."""
        self._work_off("alignments")

    def judge(self) -> None:
        """Decide, with named reasons, what may be published."""
        self._work_off("verdicts")

    def write_shards(self) -> None:
        """Aligned frames and cues of everything accepted, as WebDataset tars.

        A subject that breaks while it is packed is left out, and the shard is packed again from the others.
        """
        if self._stands("shards"):
            return
        accepted = self.accepted()
        left_out = {
            entry.part
            for entry in unsolved(self.lake, self.keys["shards"]).values()
            if entry.part and not entry.retryable
        }
        while True:
            kept = [subject for subject in accepted if subject.subject_id not in left_out]
            shards = plan_shards(kept, self.recipe.shards)
            work = Work(
                Labels(dict(sorted(shards.items())), attrgetter("label")),
                lambda ids, shards=shards: self.view.shard_inputs(shards[i] for i in ids),
                chunk=max(1, CHUNK // self.recipe.shards.subjects_per_shard),
            )
            summary = self._run("shards", work, max_failed_fraction=1.0)
            broken = {entry.part for entry in summary.failures if entry.part}
            if not broken:
                break
            left_out |= broken
        self._shards = list(work.labels)
        failed = [shards[entry.item_id] for entry in summary.failures]  # whole, as where their worker died
        lost = {subject.subject_id for shard in failed for subject in shard.subjects}
        self.record.left_out = sorted(lost | left_out & {subject.subject_id for subject in accepted})
        self._judge_left_out(summary, len(accepted))

    def publish(self) -> Manifest:
        """Name the shards as one immutable version; the same content gives the same version.

        It becomes the data set's latest. A warning says so where that takes back settings of another run.
        """
        before = latest_versions(self.lake.folder).get(self.recipe.dataset)
        if self._repeated is not None and self._repeated.version_id is not None:
            self.record.left_out = self._repeated.left_out
            manifest = publish_again(self.lake, self._repeated.version_id)
        else:
            shards = self.lake.read(Shard, self.keys["shards"], self._shards)
            manifest, self.record.version_is_new = publish(
                self.lake, self.recipe.dataset, list(shards.values()), self.keys, self.record.recipe
            )
        self.record.reverted = reverted(
            self.lake, before, manifest, self.record.recipe, self.record.version_is_new
        )
        if self.record.reverted is not None:
            logger.warning("%s", self.record.reverted)
        self.record.version_id = manifest.version_id
        self.record.finished_at = datetime.now(UTC).isoformat()
        self._save()
        return manifest

    # === What the steps share ===

    def work(self, stage: str) -> Work:
        """All items of a stage that comes after ingestion and before the shards."""
        view, source = self.view, attrgetter("source")
        match stage:
            case "wrist_tracks":
                return Work(Labels(view.outlines, source), view.videos)
            case "camera_motion" | "object_tracks":
                wanted = self.recipe.camera.moving if stage == "camera_motion" else ("human", "robot")
                tracked = self.lake.ids(WristTrack, self.keys["wrist_tracks"]) if wanted else ()
                found = view.outlines.items()
                outlines = {i: o for i, o in found if i in tracked and o.embodiment in wanted}
                return Work(Labels(outlines, source), view.tracks)
            case "alignments":
                return Work(Labels(self._ready(view.pairs), attrgetter("robot.source")), view.pair_inputs)
            case "verdicts":
                subjects = self._ready(view.subjects, "alignments")
                return Work(Labels(subjects, attrgetter("reference.source")), view.verdict_inputs)
        raise KeyError(stage)

    def _ready(self, outlines: dict[str, S], *stages: str) -> dict[str, S]:
        """Those of which no cue will be tried again, nor they themselves at one of the stages."""
        awaited = waiting(self.lake, self.keys, (*CUES, *stages))
        if not awaited:
            return outlines
        return {
            i: outline
            for i, outline in outlines.items()
            if awaited.isdisjoint((i, *(side.demonstration_id for side in outline.sides)))
        }

    def accepted(self) -> list[SubjectOutline]:
        """The subjects that may be published."""
        ids, accepted = self.lake.columns(Verdict, self.keys["verdicts"], ["item_id", "accepted"])
        subjects = self.view.subjects
        return [subjects[i] for i in compress(ids, accepted) if i in subjects]

    def _stands(self, name: str) -> bool:
        """Whether nothing has to be planned for a stage, which then stands as the repeated run found it."""
        if self._repeated is None:
            return False
        stage = next(stage for stage in self._repeated.stages if stage.name == name)
        self.record.end(stage.model_copy(update={"seconds": 0.0}))
        self._save()
        return True

    def _check_models(self) -> None:
        """Ask now for what would stop the run hours later. A stage that has rows needs its model perhaps no more."""
        if not self.executor.is_here:
            return
        for name, stage in self.stages.items():
            if not self.lake.files(stage.row, self.keys[name]):
                stage.check()

    def _work_off(self, name: str) -> None:
        if not self._stands(name):
            self._run(name, self.work(name))

    def _run(
        self, name: str, work: Work, max_failed_fraction: float | None = None, settle: Settle | None = None
    ) -> StageSummary:
        def progress(finished: int, total: int) -> None:
            if not finished:
                self.record.begin(name, self.keys[name], len(work.labels), total)
                self._save()
            if self.progress is not None:
                self.progress(name, finished, total)

        allowed = self.recipe.max_failed_fraction if max_failed_fraction is None else max_failed_fraction
        summary = run_stage(
            self.stages[name],
            work,
            self.lake,
            self.executor,
            upstream=[self.keys[upstream] for upstream in UPSTREAM[name]],
            progress=progress,
            run_id=self.record.run_id,
            max_failed_fraction=allowed,
            limits=self.recipe.limits,
            settle=settle,
            max_exceptions=MAX_EXCEPTIONS,
        )
        self._record(summary)
        return summary

    def _save(self) -> None:
        if self.recorded:
            save_run(self.lake, self.record)

    def _record(self, summary: StageSummary) -> None:
        counts = {name: getattr(summary, name) for name in StageRecord.model_fields if name != "name"}
        self.record.end(StageRecord(name=summary.stage, **counts))
        self._save()

    def _judge_left_out(self, summary: StageSummary, num_subjects: int) -> None:
        """Count the subjects that no shard could take as failed items."""
        left_out = set(self.record.left_out)
        entries = unsolved(self.lake, self.keys["shards"]).values() if left_out else ()
        entries = [entry for entry in entries if entry.part in left_out]
        by_part = {entry.part: entry for entry in sorted(entries, key=lambda e: e.finished_at)}
        failures = [*summary.failures, *by_part.values()]
        summary = replace(
            summary,
            total=summary.total + len(by_part),
            failed=dict(Counter(entry.reason for entry in failures).most_common()),
            failures=failures,
        )
        self._record(summary)
        allowed = self.recipe.max_failed_fraction
        too_many_shards = len(failures) - len(by_part) > allowed * (summary.total - len(by_part))
        if too_many_shards or len(by_part) > allowed * num_subjects:
            raise StageFailed(summary, allowed)


def make_stages(recipe: CurateRecipe, lake: Lake) -> dict[str, Stage]:
    """The stages of a recipe by name, in the order they run."""
    stages = (
        IngestStage(recipe.ingest),
        WristStage(recipe.wrists),
        CameraStage(recipe.camera),
        ObjectStage(recipe.objects),
        AlignStage(recipe.alignment),
        VerdictStage(recipe.verdict),
        ShardStage(recipe.shards, lake.root),
    )
    return {stage.name: stage for stage in stages}


def stage_keys(stages: dict[str, Stage]) -> dict[str, str]:
    """Key of every stage: what its rows depend on follows from the recipe alone."""
    keys: dict[str, str] = {}
    for name, stage in stages.items():
        keys[name] = stage.key([keys[upstream] for upstream in UPSTREAM[name]])
    return keys


STEPS = (
    Curation.ingest,
    Curation.find_wrists,
    Curation.follow_cameras,
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
