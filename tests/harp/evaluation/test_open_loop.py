"""Open loop against a loop over episodes, steps and actions."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from data_schemas.episodes import COLLECTION_FILE, read_collection
from data_schemas.errors import UserError
from harp.data.policy_episodes import EpisodeSet, decode_video
from harp.evaluation.open_loop import OpenLoopResult, evaluate_open_loop
from harp.policy.action_policy import build_action_policy
from harp.policy.checkpoints import write_policy
from harp.policy.config import ActionConfig
from harp.policy.predict import Predictor
from harp.policy.tokenizer import load_tokenizer
from tests.harp.policy.tiny_policy import tiny_vla
from tests.harp.training.tiny_demonstrations import STEPS, TASKS, write_demonstrations

CHUNK = 4


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demonstrations(tmp_path_factory.mktemp("robot") / "demos", per_task=3)


@pytest.fixture(scope="module")
def run(demonstrations: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    interface = read_collection(demonstrations).interface
    vla = tiny_vla(
        action=ActionConfig(chunk=CHUNK, dim=3, proprioception_dim=2, interface=interface), cameras=2
    )
    statistics = EpisodeSet.open(demonstrations, folder).normalization()
    policy = build_action_policy(vla).eval()
    write_policy(policy, load_tokenizer(vla.policy_config), folder / "policy", {"dot": statistics})
    return folder


def slow_errors(predictor: Predictor, demonstrations: Path, name: str) -> list[list[np.ndarray]]:
    """Normalized errors (A,) of each action of each chunk."""
    episodes = {e.info.name: e for e in EpisodeSet.open(demonstrations, demonstrations).episodes}
    episode = episodes[name]
    views = [decode_video(episode.video(camera), STEPS) for camera in ("third_view", "wrist")]
    normalize = predictor.normalization.action.normalize
    errors = []
    for t in range(STEPS):
        chunk = predictor.act([v[t] for v in views], episode.info.instruction, episode.proprioception[t])
        followed = episode.actions[t : t + CHUNK]
        errors.append(
            [
                np.abs(normalize(mine, clip=False) - normalize(true))
                for mine, true in zip(chunk, followed, strict=False)
            ]
        )
    return errors


def test_equals_a_loop_over_steps_and_actions(run: Path, demonstrations: Path, tmp_path: Path) -> None:
    result = evaluate_open_loop(str(run), demonstrations, tmp_path, skip=1)
    assert [e.name for e in result.episodes] == [f"{task}_{i:05d}" for task in TASKS for i in (1, 2)]
    predictor = Predictor.load(run / "policy")
    everything = []
    for episode in result.episodes:
        errors = slow_errors(predictor, demonstrations, episode.name)
        assert episode.first == pytest.approx(np.mean([chunk[0] for chunk in errors]), abs=1e-5)
        flat = [error for chunk in errors for error in chunk]
        assert episode.chunk == pytest.approx(np.mean(flat), abs=1e-5)
        everything += flat
    np.testing.assert_allclose(list(result.dimensions.values()), np.mean(everything, axis=0), atol=1e-5)
    assert result.chunk.mean == pytest.approx(np.mean([e.chunk for e in result.episodes]))


def test_writes_what_it_found(run: Path, demonstrations: Path, tmp_path: Path) -> None:
    result = evaluate_open_loop(str(run / "policy"), demonstrations, tmp_path, skip=1, episodes=1)
    assert len(result.episodes) == 2
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert [e["chunk"] for e in written["episodes"]] == [e.chunk for e in result.episodes]
    assert "| push | 1 |" in (tmp_path / "evaluation.md").read_text()
    assert (tmp_path / "actions.png").read_bytes().startswith(b"\x89PNG")
    assert isinstance(result, OpenLoopResult)


def test_mistakes_are_named(run: Path, demonstrations: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no more than 3 successful episodes"):
        evaluate_open_loop(str(run), demonstrations, tmp_path, skip=3)
    with pytest.raises(UserError, match="holds no policy"):
        evaluate_open_loop("tiny", demonstrations, tmp_path)
    other = shutil.copytree(demonstrations, tmp_path / "other")
    collection = read_collection(other).model_copy(update={"rate": 30.0})
    (other / COLLECTION_FILE).write_text(collection.model_dump_json())
    with pytest.raises(UserError, match=r"another robot than that of .*other: rate 10.0 and 30.0"):
        evaluate_open_loop(str(run), other, tmp_path)
