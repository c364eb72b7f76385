"""The last step of a curation on subjects that cannot be packed, and on more than fit into memory at a time."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from benchmarks.engine.noop import verdict
from data_schemas.pairs import Shard, Verdict
from pipelines import curate
from pipelines.curate import Curation
from pipelines.engine.executor import LocalExecutor
from pipelines.engine.lake import Lake
from pipelines.engine.stage import Failed, Outcome
from pipelines.inputs import VideoInput
from pipelines.outlines import Outline
from pipelines.recipe import load_curate_recipe
from pipelines.shards import stage
from pipelines.shards.stage import ShardStage
from pipelines.shards.subjects import ShardInput
from tests.pipelines.datasets.made_rh20t import write_video

NUM_CLIPS = 8


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    lines = ["pair_id,human,robot,instruction"]
    for i in range(NUM_CLIPS):
        write_video(folder / f"r{i}.mp4", frames=4, seed=i)
        lines.append(f",,r{i}.mp4,push")
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")
    return folder


def accepted_all(raw: Path, lake: Path, *changes: str) -> Curation:
    """A run whose clips are ingested and all accepted."""
    recipe = load_curate_recipe("clips", ["max_failed_fraction=1", *changes])
    curation = Curation(recipe, raw, Lake(lake), LocalExecutor())
    curation.ingest()
    standing = curation.lake.ids(Verdict, curation.keys["verdicts"])
    rows = [(i, verdict(i, accepted=True)) for i in curation.view.subjects if i not in standing]
    curation.lake.append(Verdict, curation.keys["verdicts"], rows)
    return curation


def packed(curation: Curation) -> int:
    """Samples in the shards of a run; every clip has one."""
    return sum(row.num_samples for row in curation.lake.read(Shard, curation.keys["shards"]).values())


def named(curation: Curation, source: str) -> str:
    return next(i for i, s in curation.view.subjects.items() if s.reference.source == source)


def test_a_subject_that_always_raises_leaves_the_others_and_ends_in_quarantine(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = stage.open_demonstration

    def broken(clip: VideoInput) -> AbstractContextManager:
        if clip.demonstration.source.endswith("r5.mp4"):
            raise ValueError("nobody has thought of that")
        return opened(clip)

    monkeypatch.setattr(stage, "open_demonstration", broken)
    tried = []
    for _ in range(4):
        curation = accepted_all(raw, tmp_path)
        culprit = named(curation, "r5.mp4")
        curation.write_shards()
        assert curation.record.left_out == [culprit]
        assert packed(curation) == NUM_CLIPS - 1
        tried.append(curation.record.stages[-1].processed)
    assert tried[1:] == [1, 1, 0], "tried again in two more runs"


def test_the_subjects_of_a_shard_that_is_lost_are_named(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = ShardStage.process
    lost: list[str] = []

    def die_once(shards: ShardStage, batch: Sequence[ShardInput]) -> list[Outcome]:
        if lost:
            return process(shards, batch)
        lost.extend(subject.subject_id for shard in batch for subject in shard.subjects)
        return [Failed("worker_died", "the worker's process died") for _ in batch]

    monkeypatch.setattr(ShardStage, "process", die_once)
    curation = accepted_all(raw, tmp_path, "shards.subjects_per_shard=4")
    curation.write_shards()
    assert 1 < len(lost) < NUM_CLIPS
    assert curation.record.left_out == sorted(lost)
    assert packed(curation) == NUM_CLIPS - len(lost)


def test_few_subjects_are_in_memory_at_a_time(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curate, "CHUNK", 4)
    curation = accepted_all(raw, tmp_path, "shards.subjects_per_shard=2")
    read: list[int] = []
    annotated = curation.view._annotated

    def counted(outlines):
        sides: list[Outline] = list(outlines)
        read.append(len(sides))
        return annotated(sides)

    monkeypatch.setattr(curation.view, "_annotated", counted)
    curation.write_shards()
    assert sum(read) == packed(curation) == NUM_CLIPS
    assert max(read) <= 4
