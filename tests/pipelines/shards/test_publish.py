"""From subjects to a published version, read back by the standard library of the format and by plain tar."""

import io
import json
import resource
import shutil
import tarfile
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from webdataset.compat import WebDataset

from data_schemas.errors import UserError
from data_schemas.identity import file_sha256
from data_schemas.pairs import Shard
from data_schemas.samples import CUE_ARRAYS, SampleInfo
from data_schemas.versions import Manifest
from pipelines.engine.executors import LocalExecutor
from pipelines.engine.lake import Lake
from pipelines.engine.runner import run_stage
from pipelines.shards.publish import list_versions, load_manifest, publish, publish_again
from pipelines.shards.stage import ShardConfig, ShardStage, Subject, shard_items
from tests.pipelines.shards.conftest import NUM_KEYPOINTS, frame_number

CONFIG = ShardConfig(held_out_fraction=0.5, subjects_per_shard=2, num_keypoints=NUM_KEYPOINTS)


def publish_all(
    root: Path, subjects: list[Subject], config: ShardConfig = CONFIG
) -> tuple[Lake, Manifest, bool]:
    lake = Lake(root)
    items = shard_items(subjects, config)
    summary = run_stage(ShardStage(config, lake.root), items, lake, LocalExecutor(), max_failed_fraction=0.0)
    rows = lake.read(Shard, summary.key, [item.item_id for item in items])
    return lake, *publish(lake, "toys", list(rows.values()), {"shards": summary.key}, {"dataset": "toys"})


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, subjects: list[Subject]) -> tuple[Lake, Manifest]:
    lake, manifest, is_new = publish_all(tmp_path_factory.mktemp("lake"), subjects)
    assert is_new
    return lake, manifest


def samples(published: tuple[Lake, Manifest]) -> dict[str, dict[str, bytes]]:
    lake, manifest = published
    tars = [f"{lake.root}/{shard.path}" for shard in manifest.shards]
    dataset = WebDataset(tars, shardshuffle=False)
    return {sample["__key__"]: sample for sample in dataset}


def test_the_standard_library_reads_every_sample(
    published: tuple[Lake, Manifest], subjects: list[Subject]
) -> None:
    read = samples(published)
    expected = {f"{subjects[0].subject_id}-0000", f"{subjects[0].subject_id}-0001"}
    expected |= {f"{subject.subject_id}-0000" for subject in subjects[1:]}
    assert read.keys() == expected
    for key, sample in read.items():
        info = SampleInfo.model_validate_json(sample["json"])
        assert info.key == key
        sides = {"pair": ("human", "robot")}.get(info.kind, (info.kind,))
        names = {f"{side}.{i:04d}.jpg" for side in sides for i in range(info.num_frames)}
        names |= {"json", "cues.npz"} | ({"actions.npz"} if "robot" in sides else set())
        assert {name for name in sample if not name.startswith("__")} == names
        with np.load(io.BytesIO(sample["cues.npz"])) as cues:
            assert set(cues) == {f"{side}_{name}" for side in sides for name in CUE_ARRAYS}


def test_frames_and_cues_are_those_of_the_alignment(
    published: tuple[Lake, Manifest], subjects: list[Subject]
) -> None:
    read = samples(published)
    for subject in subjects:
        seen: dict[str, list[int]] = {"human": [], "robot": []}
        segments = sorted(key for key in read if key.startswith(subject.subject_id))
        for key in segments:
            with np.load(io.BytesIO(read[key]["cues.npz"])) as cues:
                for side, numbers in seen.items():
                    if f"{side}_frame_index" not in cues:
                        continue
                    for i, frame in enumerate(cues[f"{side}_frame_index"]):
                        image = np.asarray(Image.open(io.BytesIO(read[key][f"{side}.{i:04d}.jpg"])))
                        assert image.shape == (224, 224, 3)
                        assert frame_number(image[112, 112]) == frame
                        numbers.append(int(frame))
        length = subject.reference.num_frames
        if subject.alignment is not None:
            assert seen["human"] == subject.alignment.human_index.tolist()
            assert seen["robot"] == list(range(length))
        else:
            assert seen[subject.kind] == list(range(length))


def test_actions_are_the_poses_at_the_frames(
    published: tuple[Lake, Manifest], subjects: list[Subject]
) -> None:
    robot = subjects[4].robot
    assert robot is not None
    with np.load(io.BytesIO(samples(published)[f"{subjects[4].subject_id}-0000"]["actions.npz"])) as actions:
        np.testing.assert_allclose(
            actions["end_effector_pose"], robot.demonstration.effector_poses, atol=1e-12
        )
        assert np.isnan(actions["gripper_width"]).all()


def test_the_index_points_at_the_samples(published: tuple[Lake, Manifest]) -> None:
    lake, manifest = published
    read = samples(published)
    index_file = Path(lake.root) / "versions" / manifest.version_id / "index.parquet"
    assert file_sha256(index_file) == manifest.index_sha256
    index = pq.read_table(index_file).to_pylist()
    assert {row["key"] for row in index} == read.keys()
    for row in index:
        with (Path(lake.root) / row["shard"]).open("rb") as file:
            file.seek(row["offset"])
            data = file.read(row["num_bytes"])
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            members = {member.name: file.read() for member in tar if (file := tar.extractfile(member))}
            assert all((m.mtime, m.uid, m.gid, m.uname) == (0, 0, 0, "") for m in tar.getmembers())
        prefix = row["key"] + "."
        sample = {f"{prefix}{name}": v for name, v in read[row["key"]].items() if not name.startswith("__")}
        assert members == sample
        assert list(members) == sorted(members)
        info = json.loads(members[f"{prefix}json"])
        assert {name: info[name] for name in row if name in info} == {n: row[n] for n in row if n in info}


def test_the_manifest_counts_what_is_there(published: tuple[Lake, Manifest], subjects: list[Subject]) -> None:
    lake, manifest = published
    infos = [SampleInfo.model_validate_json(sample["json"]) for sample in samples(published).values()]
    counts = manifest.counts
    assert (counts["pairs"], counts["human"], counts["robot"]) == (3, 1, 1)
    assert counts["train_pairs"] + counts["held_out_pairs"] == 3
    held_out = {info.subject_id for info in infos if info.split == "held_out"}
    assert counts["held_out_pairs"] == len(held_out)
    assert counts["frames"] == sum(subject.reference.num_frames for subject in subjects)
    assert counts["samples"] == len(infos) == sum(shard.num_samples for shard in manifest.shards)
    assert manifest.licenses == {"CC-BY-4.0": 1, "CC-BY-4.0 AND CC0-1.0": 4, "CC0-1.0": 1}
    for shard in manifest.shards:
        path = Path(lake.root) / shard.path
        assert (file_sha256(path), path.stat().st_size) == (shard.sha256, shard.num_bytes)


def test_the_same_content_is_the_same_version(
    published: tuple[Lake, Manifest], subjects: list[Subject], tmp_path: Path
) -> None:
    lake, manifest = published
    _, again_manifest, is_new = publish_all(tmp_path, subjects[::-1])
    assert is_new
    assert again_manifest.version_id == manifest.version_id
    assert again_manifest.shards == manifest.shards
    assert again_manifest.index_sha256 == manifest.index_sha256

    written = {p: p.stat().st_mtime_ns for p in (Path(lake.root) / "shards").rglob("*")}
    folder = Path(lake.root) / "versions" / manifest.version_id
    written |= {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    _, same, is_new = publish_all(Path(lake.root), subjects)
    assert not is_new
    assert same == manifest
    assert all(path.stat().st_mtime_ns == time for path, time in written.items())
    assert not list(Path(lake.root).rglob("*.tmp"))


def test_another_subject_is_another_version_and_keeps_the_other_shards(
    published: tuple[Lake, Manifest], subjects: list[Subject], tmp_path: Path
) -> None:
    _, manifest = published
    lake, fewer, _ = publish_all(tmp_path, subjects[:4])
    assert load_manifest(lake).version_id == fewer.version_id
    _, all_of_them, is_new = publish_all(tmp_path, subjects)
    assert is_new
    assert all_of_them.version_id == manifest.version_id
    assert {s.path for s in fewer.shards} < {s.path for s in all_of_them.shards}
    assert [m.version_id for m in list_versions(lake)] == [all_of_them.version_id, fewer.version_id]
    # Going back to earlier content makes it the latest again.
    publish_all(tmp_path, subjects[:4])
    assert load_manifest(lake).version_id == fewer.version_id
    assert load_manifest(lake, all_of_them.version_id) == all_of_them


def test_other_settings_are_other_shards(subjects: list[Subject], tmp_path: Path) -> None:
    lake, first, _ = publish_all(tmp_path, subjects[2:3])
    _, second, _ = publish_all(tmp_path, subjects[2:3], CONFIG.model_copy(update={"jpeg_quality": 60}))
    assert first.version_id != second.version_id
    assert first.shards[0].num_bytes > second.shards[0].num_bytes
    assert (Path(lake.root) / first.shards[0].path).exists()


def test_users_mistakes_are_one_sentence(subjects: list[Subject], tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    with pytest.raises(UserError, match="has no version yet"):
        load_manifest(lake)
    with pytest.raises(UserError, match="There is nothing to publish for toys"):
        publish(lake, "toys", [], {}, {})
    lake, manifest, _ = publish_all(tmp_path, subjects[2:3])
    with pytest.raises(UserError, match=rf"no version 'abc'; it has: {manifest.version_id}"):
        load_manifest(lake, "abc")
    with pytest.raises(UserError, match="cannot name a file"):
        load_manifest(lake, "../../etc")
    with pytest.raises(UserError, match="cannot name a file"):
        publish(lake, "../toys", [], {}, {})
    row = Shard("x", "../outside.tar", "0" * 64, 1, 1, 1)
    with pytest.raises(UserError, match="leads out of the lake"):
        publish(lake, "toys", [row], {}, {})
    shard = Path(lake.root) / manifest.shards[0].path
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"bytes instead of"):
        publish_all(tmp_path, subjects[2:3])


def test_of_runs_that_publish_at_once_one_writes_the_manifest(
    subjects: list[Subject], tmp_path: Path
) -> None:
    lake, first, _ = publish_all(tmp_path, subjects)
    shards = list(lake.read(Shard, first.stage_keys["shards"]).values())
    shutil.rmtree(tmp_path / "versions")
    starts = Barrier(4)

    def run(_: int) -> tuple[Manifest, bool]:
        starts.wait()
        return publish(lake, "toys", shards, first.stage_keys, first.recipe)

    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(run, range(4)))
    assert sum(is_new for _, is_new in results) == 1
    assert len({manifest.created_at for manifest, _ in results}) == 1
    assert not list((tmp_path / "versions").rglob("*.tmp"))


@pytest.mark.parametrize(("limit", "written"), [(64, []), (32_768, ["index.parquet"])])
def test_a_full_disk_is_named_in_a_sentence_and_leaves_no_version(
    published: tuple[Lake, Manifest], tmp_path: Path, limit: int, written: list[str]
) -> None:
    shutil.copytree(published[0].root, tmp_path / "lake", ignore=shutil.ignore_patterns("versions"))
    lake, key = Lake(tmp_path / "lake"), published[1].stage_keys["shards"]
    shards, recipe = list(lake.read(Shard, key).values()), {"a long one": "x" * 65_536}
    with files_of_at_most(limit), pytest.raises(UserError, match=r"cannot be written to .*File too large"):
        publish(lake, "toys", shards, {"shards": key}, recipe)
    assert [path.name for path in lake.folder.glob("versions/**/*") if path.is_file()] == written
    assert publish(lake, "toys", shards, {"shards": key}, recipe)[1]


def test_a_full_disk_leaves_the_latest_version_what_it_was(published: tuple[Lake, Manifest]) -> None:
    lake, manifest = published
    with files_of_at_most(8), pytest.raises(UserError, match=r"cannot be written to .*File too large"):
        publish_again(lake, manifest.version_id)
    assert load_manifest(lake) == manifest


@contextmanager
def files_of_at_most(num_bytes: int) -> Generator[None]:
    """To a program a disk on which no more fits looks the same."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
