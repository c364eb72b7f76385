"""Labels equal stage 1's codes, are made once, and survive what happens to their inputs."""

import shutil
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data_schemas.errors import UserError
from data_schemas.latent_actions import LatentActions, read_label_set
from harp.data.shards import ShardReader
from harp.data.version import PublishedVersion
from harp.latent_action.labels import Labeller, transitions
from harp.training.stage1 import train_stage1
from harp.training.stage1_models import load_stage1, stage1_identity
from pipelines.engine.executor import Attempt, Items, Limits
from pipelines.engine.executors import LocalExecutor
from pipelines.engine.lake import Lake
from pipelines.engine.ray_executor import RayExecutor
from pipelines.engine.ray_pool import max_workers
from pipelines.engine.stage import Resources, Stage
from pipelines.engine.summary import StageFailed
from pipelines.label import label_version
from tests.harp.tiny_version import write_version
from tests.harp.training.tiny_recipe import tiny_config, write_text_encoder

HORIZON = 0.4  # the middle of the tiny recipe's range; 4 frames at 10 per second
FRAMES = 10
CLIPS = 2 * 6 + 2 + 1


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[PublishedVersion, Path]:
    folder = tmp_path_factory.mktemp("world")
    root = write_version(
        folder / "lake", pairs=4, held_out=2, humans=2, robots=1, frames=FRAMES, segment_frames=4
    )
    config = tiny_config(write_text_encoder(folder / "bert"), training__steps=40)
    sizes = config.latent_action and config.latent_action.model_copy(
        update={"normalize_latents": "embodiment"}
    )
    config = config.model_copy(update={"latent_action": sizes})
    train_stage1(config, root, folder / "stage1")
    return PublishedVersion.open(root), folder / "stage1"


@pytest.fixture(scope="module")
def labelled(world: tuple[PublishedVersion, Path]) -> dict[str, LatentActions]:
    version, run = world
    done = label_version(version, run, LocalExecutor())
    assert done.summary.done == CLIPS
    assert (done.labels.clips, done.labels.transitions) == (CLIPS, CLIPS * (FRAMES - 4))
    return Lake(version.lake).read(LatentActions, done.labels.key)


def test_codes_are_those_of_stage_1_one_transition_at_a_time(world, labelled):
    version, run = world
    models, reader = load_stage1(run, torch.device("cpu")), ShardReader(version)
    subjects = {s.subject_id: s for split in ("train", "held_out") for s in version.subjects(split)}
    seen = []
    with torch.no_grad():
        for row in labelled.values():
            subject = subjects[row.subject_id]
            assert row.frames.tolist() == [[t, t + 4] for t in range(FRAMES - 4)]
            np.testing.assert_allclose(row.horizon_seconds, HORIZON)
            for pair, codes in zip(row.frames.tolist(), row.codes, strict=True):
                places = [subject.locate(frame) for frame in pair]
                frames = np.concatenate([reader.frames(s, row.side, [local]) for s, local in places])
                images = models.encoder.preprocess(torch.from_numpy(frames))
                is_robot = torch.full((2,), row.side == "robot")
                z = models.encoder.patch_tokens(images, is_robot)[None]
                language = models.text.encode([subject.instruction])
                expected = models.latent_action.encode(z, language, is_robot[:1]).codes
                assert codes.tolist() == expected[0].tolist(), (row.subject_id, row.side, pair)
                seen.append((row.side, *codes.tolist()))
    assert len(set(seen)) > 2  # not one code for everything


def test_adapters_and_language_reach_the_labels(world):
    version, run = world
    models = load_stage1(run, torch.device("cpu"))
    for name, parameter in models.encoder.named_parameters():
        if name.endswith("adapter.up.weight"):
            torch.nn.init.normal_(parameter, std=1.0)
    labeller = Labeller(models.encoder, models.latent_action, models.text, batch_size=3)
    subject = version.subjects("train", "pair")[0]
    frames = np.concatenate(
        [
            ShardReader(version).frames(segment, "human", range(segment.num_frames))
            for segment in subject.segments
        ]
    )
    _, pairs = transitions(FRAMES, 10.0, [0.3, 0.8])
    human = labeller.codes(frames, "human", "push the disc", pairs)
    assert not np.array_equal(human, labeller.codes(frames, "robot", "push the disc", pairs))
    for batch_size in (1, 64):
        other = Labeller(models.encoder, models.latent_action, models.text, batch_size=batch_size)
        np.testing.assert_array_equal(other.codes(frames, "human", "push the disc", pairs), human)


def test_horizons_in_frames():
    seconds, frames = transitions(5, 10.0, [0.2, 9.0, 0.001])
    assert frames.tolist() == [[0, 2], [1, 3], [2, 4], [0, 4], [0, 1], [1, 2], [2, 3], [3, 4]]
    np.testing.assert_allclose(seconds, [0.2] * 3 + [9.0] + [0.001] * 4)


def test_a_second_call_does_nothing_and_another_horizon_is_another_labelling(world, labelled):
    version, run = world
    again = label_version(version, run, LocalExecutor())
    assert again.summary.processed == 0
    assert read_label_set(version.lake, "latest") == again.labels
    other = label_version(version, run, LocalExecutor(), horizons=(0.2, 0.4))
    assert other.labels.key != again.labels.key
    assert other.labels.transitions == CLIPS * ((FRAMES - 2) + (FRAMES - 4))
    rows = Lake(version.lake).read(LatentActions, other.labels.key)
    for name, row in rows.items():  # the shared horizon has the same codes
        np.testing.assert_array_equal(row.codes[FRAMES - 2 :], labelled[name].codes)
    assert read_label_set(version.lake, again.labels.key[:8]) == again.labels
    with pytest.raises(UserError, match="no labelling is called 'nothing'"):
        read_label_set(version.lake, "nothing")


class AskedExecutor(LocalExecutor):
    """Remembers what the workers of its last stage asked for."""

    asked = Resources()

    def run(
        self, stage: Stage, items: Items, limits: Limits | None = None
    ) -> Generator[Attempt | None, None, None]:
        self.asked = stage.resources
        yield from super().run(stage, items, limits)


def test_one_worker_to_a_gpu_unless_a_number_is_given(world):
    version, run = world
    workers = AskedExecutor()
    label_version(version, run, workers, horizons=(0.3,))
    for cluster, number in (({"CPU": 32, "GPU": 1}, 1), ({"CPU": 32}, 32)):
        assert max_workers("latent_actions", workers.asked.on(cluster), cluster) == number
    label_version(version, run, workers, horizons=(0.5,), gpus=0.25)
    assert workers.asked.gpus == 0.25


def test_identity_is_the_content_of_the_models(world, tmp_path):
    _, run = world
    shutil.copytree(run, tmp_path / "copy")
    assert stage1_identity(tmp_path / "copy") == stage1_identity(run)
    adapters = tmp_path / "copy" / "vision_adapters.safetensors"
    adapters.write_bytes(adapters.read_bytes()[:-4] + b"\0\1\2\3")
    assert stage1_identity(tmp_path / "copy") != stage1_identity(run)
    (tmp_path / "copy" / "result.json").unlink()
    with pytest.raises(UserError, match="is not finished"):
        stage1_identity(tmp_path / "copy")


def test_a_missing_shard_fails_its_clips_and_a_later_run_makes_them_up(world, labelled, tmp_path):
    version, run = world
    lake = tmp_path / "lake"
    for part in ("shards", "versions"):
        shutil.copytree(version.lake / part, lake / part)
    copied = replace(version, folder=lake / "versions" / version.version_id)
    shard = lake / version.manifest.shards[0].path
    shard.rename(tmp_path / "away.tar")
    with pytest.raises(StageFailed, match=r"unreadable_shard"):
        label_version(copied, run, LocalExecutor())
    assert not (lake / "labels").exists()
    (tmp_path / "away.tar").rename(shard)
    done = label_version(copied, run, LocalExecutor())
    assert 0 < done.summary.already_done < CLIPS
    rows = Lake(lake).read(LatentActions, done.labels.key)
    assert rows.keys() == labelled.keys()
    for name, row in rows.items():
        np.testing.assert_array_equal(row.codes, labelled[name].codes)


@pytest.mark.slow
def test_ray_gives_the_same_rows(world, labelled, tmp_path):
    version, run = world
    for part in ("shards", "versions"):
        shutil.copytree(version.lake / part, tmp_path / part)
    copied = replace(version, folder=tmp_path / "versions" / version.version_id)
    with RayExecutor(num_cpus=2) as executor:
        done = label_version(copied, run, executor)
    rows = Lake(tmp_path).read(LatentActions, done.labels.key)
    assert rows.keys() == labelled.keys()
    for name, row in rows.items():
        np.testing.assert_array_equal(row.codes, labelled[name].codes)
