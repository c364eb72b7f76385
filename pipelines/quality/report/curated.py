"""What a report shows of a curation: the rows of its latest run, joined."""

from dataclasses import dataclass
from typing import Any

from data_schemas.camera import CameraMotion
from data_schemas.cues import ObjectTrack, WristTrack
from data_schemas.demonstrations import Demonstration
from data_schemas.pairs import Alignment, Verdict
from data_schemas.storage import location
from pipelines.engine.lake import Lake
from pipelines.inputs import Annotated
from pipelines.outlines import RunView, SubjectOutline
from pipelines.runs import RunRecord


@dataclass(frozen=True)
class Curated:
    """Everything under the keys of one run; missing tables give empty collections."""

    demonstrations: list[Demonstration]
    annotated: dict[str, Annotated]
    """Demonstration id -> clip with its cues."""
    halves: dict[str, tuple[Annotated, Annotated]]
    """Pair id -> (human, robot)."""
    subjects: dict[str, SubjectOutline]
    """Subject id -> what verdicts are about."""
    alignments: dict[str, Alignment]
    verdicts: list[Verdict]
    """Rejected ones first."""
    models: list[str]
    limits: dict[str, Any]
    """Configuration of the verdicts."""

    def cue(self, pair_id: str) -> str | None:
        """What a pair was aligned on."""
        alignment = self.alignments.get(pair_id)
        return alignment.cue if alignment else None

    def subject(self, subject_id: str) -> Demonstration:
        """The demonstration that stands for a verdict's subject: a pair's robot half, or the single clip."""
        return self.annotated[self.subjects[subject_id].reference.demonstration_id].demonstration


def load_curated(lake: Lake, run: RunRecord) -> Curated:
    """Read and join the tables of a run."""
    keys = run.stage_keys
    root = location(run.raw_root)
    view = RunView.of(lake, run)
    demonstrations, pairs, subjects = [], {}, {}
    if "ingest" in keys:
        # The stages were given these: of files of equal content one, and ids that say which cue came late.
        items = [outline.item_id for outline in view.outlines.values()]
        demonstrations = list(lake.read(Demonstration, keys["ingest"], items).values())
        pairs, subjects = view.pairs, view.subjects
    wrists = lake.read(WristTrack, keys["wrist_tracks"]) if "wrist_tracks" in keys else {}
    objects = lake.read(ObjectTrack, keys["object_tracks"]) if "object_tracks" in keys else {}
    cameras = lake.read(CameraMotion, keys["camera_motion"]) if "camera_motion" in keys else {}
    alignments = lake.read(Alignment, keys["alignments"]) if "alignments" in keys else {}
    verdicts = lake.read(Verdict, keys["verdicts"]) if "verdicts" in keys else {}
    annotated = {
        d.demonstration_id: Annotated(
            d,
            root,
            wrists.get(d.demonstration_id),
            objects.get(d.demonstration_id),
            cameras.get(d.demonstration_id),
        )
        for d in demonstrations
    }
    halves = {
        pair_id: (annotated[pair.human.demonstration_id], annotated[pair.robot.demonstration_id])
        for pair_id, pair in pairs.items()
    }
    shown = [v for v in verdicts.values() if v.subject_id in subjects]
    sources = {track.source for track in (*wrists.values(), *objects.values())}
    sources |= {track.box_source for track in objects.values()}
    return Curated(
        demonstrations=demonstrations,
        annotated=annotated,
        halves=halves,
        subjects=subjects,
        alignments=alignments,
        verdicts=sorted(shown, key=lambda v: (v.accepted, v.kind, v.subject_id)),
        models=sorted(sources),
        limits=run.recipe.get("verdict", {}),
    )
