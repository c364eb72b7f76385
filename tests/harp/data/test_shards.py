"""Random access against the standard webdataset reader, and refusal of changed shards."""

import dataclasses
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from webdataset import WebDataset

from data_schemas.errors import UserError
from harp.data.shards import ShardReader
from harp.data.version import PublishedVersion
from tests.harp.tiny_version import ORIGINAL, write_version


@pytest.fixture
def version(tmp_path):
    return PublishedVersion.open(write_version(tmp_path, pairs=3, held_out=1, frames=6, segment_frames=4))


def test_equals_webdataset_sample_by_sample(version):
    reader = ShardReader(version)
    urls = [str(version.lake / shard.path) for shard in version.manifest.shards]
    published = {sample["__key__"]: sample for sample in WebDataset(urls, shardshuffle=False)}
    assert set(published) == {sample.key for sample in version.samples}
    for sample in version.samples:
        members = published[sample.key]
        for side in ("human", "robot"):
            indices = [*reversed(range(sample.num_frames)), 0]
            frames = reader.frames(sample, side, indices)
            for frame, i in zip(frames, indices, strict=True):
                data = np.frombuffer(members[f"{side}.{i:04d}.jpg"], np.uint8)
                bgr = cv2.imdecode(data, cv2.IMREAD_COLOR)
                assert bgr is not None
                assert np.array_equal(frame, bgr[..., ::-1])
            arrays = np.load(io.BytesIO(members["cues.npz"]))
            cues = reader.cues(sample, side)
            visible = arrays[f"{side}_wrist_visible"]
            assert np.array_equal(cues.wrist_visible, visible)
            wrist = arrays[f"{side}_wrist"][visible]
            np.testing.assert_allclose(cues.wrist[visible] * ORIGINAL, wrist, rtol=1e-5)
            np.testing.assert_allclose(cues.object * ORIGINAL, arrays[f"{side}_object"], rtol=1e-5)
            assert np.isfinite(cues.wrist).all()


@pytest.mark.parametrize("verify", ["sha256", "size"])
def test_a_changed_shard_is_refused(version, verify):
    path = version.lake / version.manifest.shards[0].path
    content = bytearray(path.read_bytes())
    if verify == "size":
        content += b"x"
    else:
        content[700] ^= 1
    path.write_bytes(content)
    sample = next(s for s in version.samples if s.shard == version.manifest.shards[0].path)
    with pytest.raises(UserError, match=f"has changed since version .* was published .its {verify} differs"):
        ShardReader(version, verify).frames(sample, "robot", [0])


def test_a_shard_whose_size_alone_was_compared_may_still_be_unreadable(version):
    shard = version.manifest.shards[0]
    path = version.lake / shard.path
    path.write_bytes(b"\xff" * shard.num_bytes)
    sample = next(s for s in version.samples if s.shard == shard.path)
    with pytest.raises(UserError, match=rf"Sample {sample.key} cannot be read at byte \d+ of {shard.path}"):
        ShardReader(version, "size").frames(sample, "robot", [0])


def test_a_missing_shard_and_a_missing_member_are_named(version):
    sample = version.samples[0]
    reader = ShardReader(version)
    with pytest.raises(UserError, match=r"has no member 'robot\.0099\.jpg'"):
        reader.frames(sample, "robot", [99])
    (version.lake / sample.shard).unlink()
    with pytest.raises(UserError, match="is missing"):
        ShardReader(version).frames(sample, "robot", [0])


@pytest.mark.parametrize("moved", ["shards", "versions"])
def test_a_folder_of_the_lake_may_be_a_link_to_another_disk(version, tmp_path, tmp_path_factory, moved):
    sample = version.samples[0]
    frames = ShardReader(version).frames(sample, "robot", [0])
    elsewhere = tmp_path_factory.mktemp("disk") / "moved"
    (tmp_path / moved).rename(elsewhere)
    (tmp_path / moved).symlink_to(elsewhere)
    linked = PublishedVersion.open(version.folder)
    assert linked.lake == tmp_path
    assert np.array_equal(ShardReader(linked).frames(sample, "robot", [0]), frames)


def test_a_version_may_be_reached_by_a_link(version, tmp_path_factory):
    link = tmp_path_factory.mktemp("links") / "current"
    link.symlink_to(version.folder)
    assert PublishedVersion.open(link).lake == version.lake


@pytest.mark.parametrize("name", ["../{folder}/part-000.tar", "{lake}/shards/part-000.tar"])
def test_a_manifest_cannot_name_files_outside_of_its_lake(version, tmp_path_factory, name):
    outside = tmp_path_factory.mktemp("outside")
    os.link(version.lake / "shards" / "part-000.tar", outside / "part-000.tar")
    escaping = name.format(folder=f"../{outside.parent.name}/{outside.name}", lake=version.lake)
    shards = [shard.model_copy(update={"path": escaping}) for shard in version.manifest.shards]
    manifest = version.manifest.model_copy(update={"shards": shards})
    sample = dataclasses.replace(version.samples[0], shard=escaping)
    with pytest.raises(UserError, match="which would lie outside of its lake"):
        ShardReader(dataclasses.replace(version, manifest=manifest)).read(sample, "json")


def test_a_shard_that_the_manifest_does_not_name_is_refused(version):
    sample = dataclasses.replace(version.samples[0], shard="shards/other.tar")
    with pytest.raises(
        UserError, match=r"The index names the shard shards/other\.tar, the manifest does not"
    ):
        ShardReader(version).read(sample, "json")


def open_tars(lake):
    links = (link for link in Path("/proc/self/fd").iterdir() if link.is_symlink())
    return sum(os.readlink(link).startswith(str(lake)) for link in links)


def test_few_shards_stay_open_and_threads_may_share_a_reader(tmp_path, monkeypatch):
    monkeypatch.setattr("harp.data.shards.OPEN_SHARDS", 2)
    version = PublishedVersion.open(write_version(tmp_path, pairs=6, held_out=0, frames=2, shards=6))
    assert open_tars(tmp_path) == 0
    reader = ShardReader(version)
    with ThreadPoolExecutor(4) as pool:
        work = [sample for _ in range(5) for sample in version.samples]
        frames = list(pool.map(lambda sample: reader.frames(sample, "robot", [0])[0], work))
    assert 0 < open_tars(tmp_path) <= 2
    reader.close()
    assert open_tars(tmp_path) == 0
    for sample, frame in zip(work, frames, strict=True):
        assert np.array_equal(reader.frames(sample, "robot", [0])[0], frame)
