"""Opening a version: subjects, splits, and refusals in one sentence."""

import json

import pytest

from data_schemas.errors import UserError
from harp.data.version import PublishedVersion, version_folder
from tests.harp.tiny_version import write_version


def test_subjects_by_split_and_kind(tmp_path):
    version = PublishedVersion.open(
        write_version(tmp_path, pairs=4, held_out=2, humans=1, robots=3, frames=3)
    )
    assert len(version.subjects("train", "pair")) == 4
    assert len(version.subjects("held_out", "pair")) == 2
    assert len(version.subjects("train", "human", "robot")) == 4
    train = {s.subject_id for s in version.subjects("train")}
    assert not train & {s.subject_id for s in version.subjects("held_out")}


def test_frames_count_through_segments(tmp_path):
    version = PublishedVersion.open(write_version(tmp_path, pairs=1, held_out=0, frames=10, segment_frames=4))
    (subject,) = version.subjects("train")
    assert [segment.num_frames for segment in subject.segments] == [4, 4, 2]
    assert subject.num_frames == 10
    places = [subject.locate(i) for i in range(10)]
    assert [(s.segment, local) for s, local in places] == [(i // 4, i % 4) for i in range(10)]
    with pytest.raises(IndexError):
        subject.locate(10)


def test_changed_index_is_refused(tmp_path):
    folder = write_version(tmp_path, pairs=1, held_out=0, frames=2)
    with (folder / "index.parquet").open("ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match=r"index\.parquet has changed"):
        PublishedVersion.open(folder)


def test_other_schema_is_refused(tmp_path):
    folder = write_version(tmp_path, pairs=1, held_out=0, frames=2)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 99}))
    with pytest.raises(UserError, match="has schema 99, this HARP reads schema 1"):
        PublishedVersion.open(folder)


def test_a_folder_without_manifest_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no manifest\.json"):
        PublishedVersion.open(tmp_path)


def test_version_by_id_by_path_and_latest(tmp_path):
    old = write_version(tmp_path, pairs=1, held_out=0, frames=2)
    new = write_version(tmp_path, pairs=2, held_out=0, frames=2)
    with pytest.raises(UserError, match="has no version yet: publish one with `harp curate`"):
        version_folder(tmp_path, "latest")
    (tmp_path / "versions" / "toys.latest.json").write_text(json.dumps({"version_id": new.name}))
    assert version_folder(tmp_path, "latest") == new
    assert version_folder(tmp_path, old.name) == old
    assert version_folder(tmp_path, str(old)) == old
    with pytest.raises(UserError, match=f"no version 'abc' in .*{old.name}"):
        version_folder(tmp_path, "abc")


def test_the_latest_of_several_data_sets_is_named_by_its_data_set(tmp_path):
    folders = {name: write_version(tmp_path, pairs=n, frames=2) for n, name in ((1, "cubes"), (2, "toys"))}
    for name, folder in folders.items():
        (tmp_path / "versions" / f"{name}.latest.json").write_text(json.dumps({"version_id": folder.name}))
    with pytest.raises(UserError, match="several data sets, cubes, toys: say which by --dataset"):
        version_folder(tmp_path, "latest")
    assert {name: version_folder(tmp_path, "latest", name) for name in folders} == folders
    with pytest.raises(UserError, match="no version of discs yet; it has versions of cubes, toys"):
        version_folder(tmp_path, "latest", "discs")
