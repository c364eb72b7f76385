"""Features kept on disk change nothing but the time that stage 3 takes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from data_schemas.errors import UserError
from harp.data.policy_episodes import EpisodeSet
from harp.policy.checkpoints import write_policy
from harp.policy.config import ImageConfig
from harp.policy.tokenizer import load_tokenizer
from harp.training.policy_run import reload_vla
from harp.training.stage3 import train_stage3
from harp.training.stage3_config import Stage3Config
from harp.training.stage3_features import episode_features
from tests.harp.policy.tiny_policy import tiny_vla
from tests.harp.training.killed_runs import losses
from tests.harp.training.tiny_demonstrations import STEPS, write_demonstrations


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demonstrations(tmp_path_factory.mktemp("demonstrations") / "raw")


def write_stage2(folder: Path, **changes: Any) -> Path:
    vla = tiny_vla(**changes)
    write_policy(vla, load_tokenizer(vla.policy_config), folder / "policy")
    return folder


def recipe(keep: bool, **changes: object) -> Stage3Config:
    training = {"steps": 8, "learning_rate": 3e-4, "checkpoint_every": 8, "precision": "fp32"}
    values = {"head": {"chunk": 3}, "lora": None, "training": training, **changes}
    return Stage3Config.model_validate(values | {"data": {"batch_size": 6, "keep_features": keep}})


def test_training_on_kept_features_gives_the_losses_of_training_on_pictures(
    demonstrations: Path, tmp_path: Path
) -> None:
    policy = str(write_stage2(tmp_path / "stage2"))
    runs = {keep: tmp_path / f"keep_{keep}" for keep in (True, False)}
    results = {keep: train_stage3(recipe(keep), policy, demonstrations, run) for keep, run in runs.items()}
    kept, seen = ([row["loss"] for row in losses(runs[keep])] for keep in (True, False))
    # Some processors multiply float32 in bf16, and Adam makes much of little: 0.001. Pictures of other frames: 0.02.
    assert kept == pytest.approx(seen, rel=5e-3)
    assert kept[-1] != kept[0]
    assert results[True].tests["demonstrations_l1"] == pytest.approx(
        results[False].tests["demonstrations_l1"], rel=5e-3
    )


def test_features_are_those_of_the_adapted_encoder_in_every_frame(
    demonstrations: Path, tmp_path: Path
) -> None:
    folder = write_stage2(tmp_path / "stage2", cameras=2)
    vla = tiny_vla(cameras=2)
    config = vla.policy_config
    episodes = EpisodeSet.open(demonstrations, tmp_path / "frames")
    episodes.decode(2)
    features = episode_features(episodes, vla, "fp32")
    assert len(features) == len(episodes.episodes)
    assert [view.shape for view in features[0]] == [(STEPS, config.vision.num_patches, config.vision.dim)] * 2
    wrist = torch.from_numpy(np.array(episodes.frames(episodes.episodes[1], "wrist")[4:5]))
    with torch.no_grad():
        expected = vla.vision.adapted(vla.vision.preprocess(wrist))[0]
        frozen = vla.vision.frozen(vla.vision.preprocess(wrist))[0]
    np.testing.assert_allclose(features[1][1][4], expected, rtol=2e-3, atol=2e-3)
    assert not np.allclose(features[1][1][4], frozen, atol=1e-2)
    times = [file.stat().st_mtime_ns for file in sorted((tmp_path / "frames").glob("features-*/*.npy"))]
    reloaded, _ = reload_vla(vla.policy_config, folder / "policy")
    episode_features(episodes, reloaded, "fp32")
    assert [f.stat().st_mtime_ns for f in sorted((tmp_path / "frames").glob("features-*/*.npy"))] == times
    with torch.no_grad():
        next(vla.vision.parameters()).add_(1)
    episode_features(episodes, vla, "fp32")
    assert len(list((tmp_path / "frames").glob("features-*"))) == 2


def test_features_that_would_change_are_not_kept(demonstrations: Path, tmp_path: Path) -> None:
    for change in ({"lora": {"rank": 4}}, {"vision": "adapters"}):
        with pytest.raises(ValidationError, match="keep_features needs a vision encoder that is not trained"):
            recipe(True, **change)
    policy = str(write_stage2(tmp_path / "stage2", image=ImageConfig(crop_area=0.9)))
    with pytest.raises(UserError, match=r"Random crops change the features.*data\.crop_area=1"):
        train_stage3(recipe(True), policy, demonstrations, tmp_path / "run")
