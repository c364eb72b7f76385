"""Features kept on disk change nothing but the time that stage 2 takes."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from harp.data.policy_labels import LabelDataConfig, LabelledVersions, LabelSource, clips_of
from harp.data.policy_loader import collate
from harp.data.shards import ShardReader
from harp.training.kept_features import KeptFeatures
from harp.training.policy_run import Start, build_vla
from harp.training.stage2_config import resolve_stage2
from harp.training.stage2_features import ClipFeatures
from harp.vision.config import VisionConfig
from harp.vision.encoder import HarpVisionEncoder
from tests.harp.training.changed import changed
from tests.harp.training.killed_runs import losses
from tests.harp.training.labelled_world import World, make_world, recipe, train
from tests.harp.training.tiny_recipe import tiny_config
from tests.harp.training.worker_processes import run_on_processes


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


def test_training_on_kept_features_gives_the_losses_of_training_on_pictures(
    world: World, tmp_path: Path
) -> None:
    results = {
        keep: train(world, tmp_path / str(keep), recipe(training__steps=8, data__keep_features=keep))
        for keep in (True, False)
    }
    kept, seen = ([row["loss"] for row in losses(tmp_path / str(keep))] for keep in (True, False))
    assert kept == pytest.approx(seen, rel=2e-3)
    assert kept[-1] < kept[0]
    assert results[True].tests == pytest.approx(results[False].tests, abs=0.1)


def test_humans_are_encoded_frozen_and_robots_adapted_and_only_once(world: World, tmp_path: Path) -> None:
    labelled = LabelledVersions.open(
        world.lake, LabelDataConfig(sources=(LabelSource(labels="first"),), keep_features=True)
    )
    pools, reader = labelled.transitions("train"), ShardReader(world.version)
    start = Start(stage1=world.stage1)
    config = resolve_stage2(recipe(), list(labelled.labels.values()), start)
    vla, _ = build_vla(config.policy, start)
    for adapter in (p for name, p in vla.vision.named_parameters() if "_adapter.up" in name):
        torch.nn.init.normal_(adapter, std=0.1)  # one that shows
    features = ClipFeatures(tmp_path, vla, "fp32", labelled.version)
    features.make(clips_of(pools), reader)
    files = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.npy")}
    assert len(files) == 6  # both sides of 2 pairs, a human, a robot; nothing of the held-out pair
    members = pools[0].members[:]
    pictures, kept = collate(members, reader), collate(members, reader, features=features.of)
    assert pictures.frames is not None
    assert kept.frames is None
    assert kept.features is not None
    images = vla.vision.preprocess(pictures.frames)
    with torch.no_grad():
        expected = vla.vision.patch_tokens(images, pictures.is_robot)
        frozen = vla.vision.frozen(images)
    np.testing.assert_allclose(kept.features, expected, rtol=2e-3, atol=2e-3)
    assert not np.allclose(kept.features[kept.is_robot], frozen[kept.is_robot], atol=1e-2)

    ClipFeatures(tmp_path, vla, "fp32", labelled.version).make(clips_of(pools), reader)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.npy")} == files
    ClipFeatures(tmp_path, vla, "bf16", labelled.version).make(clips_of(pools), reader)
    assert len(list(tmp_path.iterdir())) == 2


def test_equal_weights_that_are_run_otherwise_have_features_of_their_own(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "no-text").vision
    (backbone,) = config.model_dump()["backbones"]
    exact, tanh = (
        HarpVisionEncoder(
            VisionConfig.model_validate(
                {
                    "image_size": config.image_size,
                    "backbones": [changed(backbone, {"architecture__activation": activation})],
                }
            )
        )
        for activation in ("gelu", "gelu_tanh")
    )
    tanh.load_state_dict(exact.state_dict())
    models: list[Any] = [SimpleNamespace(vision=vision) for vision in (exact, tanh)]
    folders = {KeptFeatures(tmp_path, model, "fp32").folder for model in models}
    assert len(folders) == 2


@pytest.mark.slow
def test_workers_wait_for_the_features(world: World, tmp_path: Path) -> None:
    config = recipe(data__batch_size=8, data__keep_features=True)
    train(world, tmp_path / "one" / "run", config)
    launch = partial(run_on_processes, workers=2, meeting=tmp_path / "meeting")
    train(world, tmp_path / "two" / "run", config, launch=launch)
    one, two = ([row["loss"] for row in losses(tmp_path / name / "run")] for name in ("one", "two"))
    assert two == pytest.approx(one, rel=2e-3)


def test_features_that_would_change_are_not_kept() -> None:
    for vision in ("adapters", "all"):
        with pytest.raises(ValidationError, match="keep_features needs a vision encoder that is not trained"):
            recipe(vision=vision, data__keep_features=True)
