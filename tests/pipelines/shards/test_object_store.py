"""Raw data, tables and shards on s3://, by a real S3-speaking server on loopback."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.request import Request, urlopen

import fsspec
import numpy as np
import pytest
from deltalake import DeltaTable

import harp.cli
from data_schemas.camera import CameraMotion
from data_schemas.errors import BadInput, UserError
from data_schemas.pairs import Shard
from data_schemas.storage import fingerprints, location, upload_if_absent
from harp.data.shards import ShardReader
from harp.data.version import PublishedVersion, version_folder
from pipelines.datasets import clip_files
from pipelines.datasets.clip_files import file_states, inside
from pipelines.datasets.rh20t.layout import subfolders
from pipelines.engine.executors import LocalExecutor
from pipelines.engine.insertion import Insertion
from pipelines.engine.lake import Lake
from pipelines.engine.maintenance import optimize
from pipelines.engine.runner import run_stage
from pipelines.runs import RunRecord, keep_sources, latest_run, new_run_id, read_sources, save_run
from pipelines.shards.publish import list_versions, publish
from pipelines.shards.stage import ShardConfig, ShardStage, shard_items
from pipelines.video import open_video
from simulation.tabletop import TabletopConfig, generate
from tests.pipelines.engine.toy import Power, power_row
from tests.pipelines.shards.conftest import NUM_KEYPOINTS, Studio, frame_number

BUCKET = "s3://harp-test"


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """URL of an empty bucket; credentials and address are in the environment, as a user gives them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # A process of its own: delta-rs keeps Python's lock while it waits for an answer.
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        patch.setenv("AWS_REGION", "us-east-1")
        patch.setenv("AWS_ALLOW_HTTP", "true")
        wait_for(port)
        location(BUCKET).mkdir(parents=True)
        yield BUCKET
    server.terminate()
    server.wait(60)


def wait_for(port: int) -> None:
    """Until the port answers."""
    deadline = time.monotonic() + 300
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "the S3 server does not come up"
            time.sleep(0.2)


def test_a_path_argument_of_a_command_is_a_url(store: str):
    assert str(location(Path(f"{store}/lake"))) == f"{store}/lake"
    assert location("data/raw") == Path("data/raw")


@pytest.mark.parametrize("url", ["s3://key:secret@bucket/lake", "s3://secret@bucket/lake"])
def test_credentials_in_a_url_are_refused_and_not_repeated(url: str):
    with pytest.raises(UserError, match="AWS_SECRET_ACCESS_KEY") as caught:
        Lake(url)
    assert "secret@" not in str(caught.value)


def test_an_unknown_store_is_one_sentence():
    with pytest.raises(UserError, match="cannot be read or written"):
        Lake("carrier-pigeon://roof/lake")


def test_a_store_that_does_not_answer_is_one_sentence():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
        refusal("s3://nowhere/lake", AWS_ENDPOINT_URL=address, **keys)


def test_refused_credentials_are_one_sentence(store: str):
    check_credentials_after("0")
    try:
        assert "does not exist in our records" in refusal(f"{store}/lake")
    finally:
        check_credentials_after("inf")


def test_an_outage_that_delta_lake_meets_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def read() -> None:
        options = {"max_retries": "0", "allow_http": "true", "region": "us-east-1", "skip_signature": "true"}
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            options["endpoint"] = f"http://127.0.0.1:{nobody.getsockname()[1]}"
            DeltaTable("s3://nowhere/table", storage_options=options)

    monkeypatch.setattr(harp.cli, "build_app", lambda: read)
    with pytest.raises(SystemExit, match="2"):
        harp.cli.main()
    assert "The object store cannot be used" in capsys.readouterr().err


def check_credentials_after(requests: str) -> None:
    """The server believes so many requests, and then knows nobody."""
    address = f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
    urlopen(Request(address, requests.encode(), {"Content-Type": "text/plain"}), timeout=60).close()


def refusal(lake: str, **environment: str) -> str:
    """What `harp status` says of a store that it cannot use."""
    result = subprocess.run(
        [Path(sys.executable).with_name("harp"), "status", "--lake", lake],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert result.returncode == 2, result.stderr
    assert "The object store cannot be used" in result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


def test_no_path_leads_out_of_the_raw_root(store: str):
    for relative in ("../other/x.mp4", "/etc/passwd", "a/../../x.mp4"):
        with pytest.raises(BadInput, match="path_escape"):
            inside(location(f"{store}/raw"), relative)


def test_writers_at_the_same_time_leave_every_row_once(store: str):
    lake = f"{store}/concurrent"

    def run(_: int) -> int:
        items = [(f"id{v:03d}", power_row(v, 2)) for v in range(40)]
        insertion = Insertion(Lake(lake), Power, "key")
        return sum(8 - len(insertion.insert(items[i : i + 8])) for i in range(0, 40, 8))

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(run, range(3))) == 40
    table = Lake(lake).table(Power)
    assert sorted(table["value"].to_pylist()) == list(range(40))


def test_one_optimization_of_a_lake_at_a_time(store: str):
    lake = Lake(f"{store}/optimized")
    row = CameraMotion("d", "made", np.tile(np.eye(3), (2, 1, 1)), np.ones(2, np.float32))
    for i in range(6):
        lake.append(CameraMotion, "key", [(f"d{i}", row)])
    first = optimize(lake)
    assert next(first).files_after == 1
    with pytest.raises(UserError, match=r"If \S+:\d+ is no more, remove s3://\S+/optimized/.optimize.lock"):
        next(optimize(lake))
    assert not list(first)
    assert [done.files_after for done in optimize(lake)] == [1]


def test_the_first_of_two_writers_of_a_name_wins(store: str, tmp_path: Path):
    target = location(f"{store}/once/manifest.json")
    for name, won in (("a", True), ("b", False)):
        (tmp_path / name).write_text(name)
        assert upload_if_absent(tmp_path / name, target) is won
    assert target.read_text() == "a"


def test_a_replaced_file_is_seen_without_reading_it(store: str):
    root = location(f"{store}/watched")
    path = root / "human" / "x.bin"

    def state(relative: str = "human/x.bin") -> str:
        return file_states(root)(relative)

    assert state() == "absent"
    path.write_bytes(b"one")
    before = state()
    looked_at = fsspec.filesystem("s3").info(str(path))
    assert before == f"{looked_at['size']}:{looked_at['ETag']}", "a listing says what a single look says"
    path.write_bytes(b"two")
    assert state() not in (before, "absent")
    whole = state("human")
    (path.parent / "deep" / "z.bin").write_bytes(b"new")
    assert state("human") not in (whole, "absent"), "of a folder, all that it holds"
    assert state("human/y.bin") == state("robot/x.bin") == "absent"


def test_a_folder_is_listed_once(store: str, monkeypatch: pytest.MonkeyPatch):
    folder = location(f"{store}/listed/many")
    for i in range(3):
        (folder / f"{i}.bin").write_bytes(b"x")
    listed = []
    monkeypatch.setattr(clip_files, "fingerprints", lambda path: listed.append(path) or fingerprints(path))
    state_of = file_states(folder.parent)
    assert len({state_of(f"many/{i}.bin") for i in (0, 1, 2, 0)}) == 1
    assert listed == [folder]
    (folder / "deep" / "x.bin").write_bytes(b"x")
    assert subfolders(folder.parent) == [folder.name]
    assert subfolders(folder) == ["deep"]


def test_run_records_and_sources(store: str):
    lake = Lake(f"{store}/runs-of")
    record = RunRecord(
        run_id=new_run_id("toys"), dataset="toys", recipe={}, raw_root="raw", executor="x", started_at="2026"
    )
    record.sources = keep_sources(lake, ["b", "a"])
    save_run(lake, record)
    assert latest_run(lake).run_id == record.run_id
    assert read_sources(lake, record) == ["a", "b"]


def test_shards_are_published_and_read_as_on_disk(
    store: str, tmp_path: Path, studio: Studio, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HARP_CACHE", str(tmp_path / "cache"))
    config = ShardConfig(held_out_fraction=0.0, num_keypoints=NUM_KEYPOINTS)
    subjects = [studio.pair(12, 9), studio.single("human", 7)]
    raw = location(f"{store}/raw")
    for path in studio.root.iterdir():
        (raw / path.name).write_bytes(path.read_bytes())
    versions = {}
    for root, lake in ((studio.root, Lake(tmp_path / "lake")), (raw, Lake(f"{store}/lake"))):
        moved = [subject_below(root, subject) for subject in subjects]
        items = shard_items(moved, config)
        summary = run_stage(
            ShardStage(config, lake.root), items, lake, LocalExecutor(), max_failed_fraction=0.0
        )
        rows = list(lake.read(Shard, summary.key).values())
        manifest, is_new = publish(lake, "toys", rows, {"shards": summary.key}, {})
        assert is_new
        assert publish(lake, "toys", rows, {"shards": summary.key}, {}) == (manifest, False)
        assert [version.version_id for version in list_versions(lake)] == [manifest.version_id]
        versions[manifest.version_id] = manifest
    assert len(versions) == 1, "the same bytes, wherever they lie"

    opened = PublishedVersion.open(version_folder(Path(f"{store}/lake"), "latest"))
    for _ in range(2):  # the second reader finds the copies
        reader = ShardReader(opened)
        (pair,) = opened.subjects("train", "pair")
        frames = reader.frames(pair.segments[0], "robot", [0, 5, 11])
        assert [frame_number(frame[112, 112]) for frame in frames] == [0, 5, 11]
        assert reader.cues(pair.segments[0], "human").wrist.shape == (12, 2)
        assert all(reader.read(sample, "cues.npz") for sample in opened.samples)
    copies = list((tmp_path / "cache" / "files").iterdir())
    assert len(copies) == len(opened.manifest.shards)
    copies[0].write_bytes(b"damaged")
    reader = ShardReader(opened)
    with pytest.raises(UserError, match="has changed"):
        [reader.read(sample, "cues.npz") for sample in opened.samples]


def test_videos_are_decoded_from_the_store(store: str, studio: Studio):
    clip = studio.clip("human", 20)
    path = location(f"{store}/raw") / clip.demonstration.video_path
    path.write_bytes(clip.video_path.read_bytes())
    with open_video(path) as video:
        assert [frame_number(frame[32, 48]) for frame in video.frames([19, 0, 7])] == [19, 0, 7]


@pytest.mark.slow
def test_a_whole_curation_equals_one_on_disk(store: str, tmp_path: Path):
    generate(TabletopConfig(out=tmp_path / "raw", pairs=2, seed=0))
    fsspec.filesystem("s3").put(str(tmp_path / "raw"), f"{store}/tabletop", recursive=True)
    found = []
    for root, lake in ((tmp_path / "raw", tmp_path / "disk"), (f"{store}/tabletop", f"{store}/whole")):
        curate = ("curate", "tabletop", "--root", str(root), "--lake", str(lake), "--executor")
        run_harp(*curate, "local")
        assert "Nothing new" in run_harp(*curate, "ray")
        found.append([version.version_id for version in list_versions(Lake(lake))])
    assert found[0] == found[1]
    run_harp("report", "--lake", f"{store}/whole", "--out", str(tmp_path / "r.html"))
    assert (tmp_path / "r.html").read_text().count('class="sheet"') == 2


def run_harp(*arguments: str) -> str:
    """What the command printed."""
    harp = Path(sys.executable).with_name("harp")
    result = subprocess.run([harp, *arguments], check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def subject_below(root: Path, subject):
    """The same subject with its videos below another root."""
    sides = {
        side: replace(clip, raw_root=root)
        for side in ("human", "robot")
        if (clip := getattr(subject, side)) is not None
    }
    return replace(subject, **sides)
