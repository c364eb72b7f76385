"""The cache is that of the encoder, survives kill -9, and several processes share its work."""

import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from data_schemas.errors import UserError
from harp.data.config import DataConfig
from harp.data.feature_build import FeaturePlan, build
from harp.data.frozen_features import FrozenFeatures
from harp.data.sampling import TransitionSampler
from harp.data.shards import ShardReader
from harp.data.version import PublishedVersion
from tests.harp.tiny_version import write_version


def encode(frames: torch.Tensor) -> torch.Tensor:
    """4 patches, each its mean colour."""
    cells = frames[:, ::8, ::8].float().unflatten(1, (2, 14)).unflatten(3, (2, 14))
    return cells.mean((2, 4)).flatten(1, 2) / 255


def make_plan(version: PublishedVersion, folder: Path, max_token_bytes: int = 10**9) -> FeaturePlan:
    plan = FeaturePlan.make(
        version,
        ShardReader(version, "size"),
        encode,
        identity="mean colours",
        folder=folder,
        max_token_bytes=max_token_bytes,
    )
    assert plan is not None
    return plan


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    root = tmp_path_factory.mktemp("lake")
    return PublishedVersion.open(write_version(root, pairs=6, held_out=1, humans=1, frames=4, shards=4))


def files(plan):
    return {path.name: path.read_bytes() for path in plan.folder.glob("*.npy")}


FORK = multiprocessing.get_context("fork")


def start_worker(version, folder, seconds):
    """A process that builds slowly; (process, queue that receives its report)."""
    reports = FORK.SimpleQueue()

    def slow(frames):
        time.sleep(seconds)
        return encode(frames)

    def work():
        reports.put(build(make_plan(version, folder), ShardReader(version, "size"), slow))

    process = FORK.Process(target=work)
    process.start()
    return process, reports


def test_a_killed_build_keeps_whole_shards_and_two_processes_share_the_rest(version, tmp_path):
    reference = make_plan(version, tmp_path / "reference")
    build(reference, ShardReader(version), encode)
    plan = make_plan(version, tmp_path / "features")

    first, _ = start_worker(version, tmp_path / "features", 0.1)
    deadline = time.monotonic() + 60
    while not files(plan) and time.monotonic() < deadline:
        time.sleep(0.01)
    first.kill()
    first.join()
    kept = files(plan)
    stamps = {path: path.stat().st_mtime_ns for path in plan.folder.glob("*.npy")}
    assert 0 < len(kept) < len(files(reference))
    assert kept.items() <= files(reference).items(), "whatever has its name is complete"
    left = sum(not plan.is_built(shard) for shard in plan.shards)

    workers = [start_worker(version, tmp_path / "features", 0.05) for _ in range(2)]
    built = [reports.get().shards_built for _, reports in workers]
    for process, _ in workers:
        process.join()
    assert files(plan) == files(reference)
    assert sum(built) == left, "no shard is built twice"
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    assert not list(plan.folder.glob("*.partial"))
    again = build(plan, ShardReader(version), encode)
    assert (again.shards_built, again.frames) == (0, 0)


def test_features_are_those_of_the_encoder_with_and_without_tokens(version, tmp_path):
    reader = ShardReader(version)
    draw = TransitionSampler(version, DataConfig(pairs_per_batch=4, singles_per_batch=0), 0).draw(0)
    human_frames = 7 * 4
    for limit, kept in ((human_frames * 4 * 3 * 2, True), (human_frames * 4 * 3 * 2 - 1, False)):
        features = FrozenFeatures.prepare(
            version,
            reader,
            encode,
            identity="mean colours",
            folder=tmp_path,
            max_token_bytes=limit,
        )
        assert features.has_tokens is kept
        for clip in draw.pairs:
            for side in ("human", "robot"):
                frames = np.concatenate(
                    [
                        reader.frames(segment, side, [i])
                        for segment, i in map(clip.subject.locate, clip.frames)
                    ]
                )
                tokens = encode(torch.from_numpy(frames))
                torch.testing.assert_close(features.pooled(clip, side), tokens.mean(1))
                if side == "human" and kept:
                    found = features.human_tokens(clip, slice(0, 2))
                    assert torch.equal(found, tokens[:2].bfloat16())


def test_a_version_that_shares_shards_reuses_their_features(version, tmp_path):
    plan = make_plan(version, tmp_path)
    build(plan, ShardReader(version), encode)
    smaller = PublishedVersion(
        version.folder, version.manifest, tuple(s for s in version.samples if s.shard.endswith("000.tar"))
    )
    part = make_plan(smaller, tmp_path)
    assert len(part.shards) == 1
    assert part.is_built(part.shards[0])


def test_a_damaged_file_is_one_sentence(version, tmp_path):
    features = FrozenFeatures.prepare(
        version, ShardReader(version), encode, identity="e", folder=tmp_path, max_token_bytes=0
    )
    for path in tmp_path.rglob("*.npy"):
        path.write_bytes(path.read_bytes()[:-9])
    draw = TransitionSampler(version, DataConfig(pairs_per_batch=4), 0).draw(0)
    with pytest.raises(UserError, match=r"cannot be read .* remove the file"):
        features.pooled(draw.pairs[0], "human")
