"""Stage 3 on tiny demonstrations: learns them, resumes exactly, merges, writes what can be served."""

import contextlib
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from data_schemas.episodes import VIDEOS, read_collection, read_episode
from data_schemas.errors import UserError
from harp.data.policy_episodes import EpisodeSet
from harp.policy.checkpoints import load_policy, write_policy
from harp.policy.checkpoints.folder import read_config
from harp.policy.predict import Predictor, Request
from harp.policy.tokenizer import load_tokenizer
from harp.training import stage3_config
from harp.training.policy_run import Start
from harp.training.stage1 import train_stage1
from harp.training.stage1_models import load_stage1, stage1_identity
from harp.training.stage3 import train_stage3
from harp.training.stage3_codes import episode_codes
from harp.training.stage3_config import Stage3Config
from tests.harp.policy.tiny_policy import tiny_config as tiny_policy_config
from tests.harp.policy.tiny_policy import tiny_vla
from tests.harp.tiny_version import write_version
from tests.harp.training.changed import changed
from tests.harp.training.killed_runs import Killed, kill_at, losses
from tests.harp.training.tiny_demonstrations import STEPS, episode_set, write_demonstrations
from tests.harp.training.tiny_recipe import tiny_config, write_text_encoder
from tests.harp.training.worker_processes import run_on_processes

CHUNK = 3


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demonstrations(tmp_path_factory.mktemp("demonstrations") / "raw")


@pytest.fixture(scope="module")
def stage2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy of random weights, as stage 2 writes it."""
    folder = tmp_path_factory.mktemp("stage2")
    vla = tiny_vla()
    write_policy(vla, load_tokenizer(vla.policy_config), folder / "policy")
    return folder


def recipe(**changes: object) -> Stage3Config:
    values: dict = {
        "head": {"chunk": CHUNK, "latent_head_width": 64},
        "lora": None,
        "data": {"batch_size": 6},
        "training": {
            "steps": 4,
            "learning_rate": 3e-3,
            "warmup_steps": 2,
            "checkpoint_every": 2,
            "precision": "fp32",
        },
    }
    return Stage3Config.model_validate(changed(values, changes))


def requests(episodes: EpisodeSet) -> tuple[list[Request], list[np.ndarray]]:
    """Every step of every episode as a robot would send it, and the actions that followed."""
    asked, followed = [], []
    for episode in episodes.episodes:
        pictures = [episodes.frames(episode, camera) for camera in VIDEOS]
        for t in range(episode.info.steps):
            views = [np.array(video[t]) for video in pictures]
            asked.append(Request(views, episode.info.instruction, episode.proprioception[t]))
            followed.append(episode.actions[t : t + CHUNK])
    return asked, followed


def test_a_killed_run_with_lora_gives_the_losses_of_one_never_killed(demonstrations, stage2, tmp_path):
    config = recipe(lora={"rank": 4, "alpha": 8}, data__cameras=1)
    whole = train_stage3(config, str(stage2), demonstrations, tmp_path / "whole")
    with pytest.raises(Killed):
        train_stage3(config, str(stage2), demonstrations, tmp_path / "killed", observers=kill_at(3))
    result = train_stage3(config, str(stage2), demonstrations, tmp_path / "killed")
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert (result.final, result.tests) == (whole.final, whole.tests)
    assert whole.tests["merge_change"] < 1e-4
    states = [load_file(run.policy / "model.safetensors") for run in (whole, result)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not any("lora" in name for name in states[0])
    before = load_file(stage2 / "policy" / "model.safetensors")
    assert states[0].keys() == before.keys()
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], states[0][name])}
    assert moved == {"projector", "language_model", "vision_backbone"}
    assert not any("_adapter." in n for n in before if not torch.equal(before[n], states[0][n]))
    again = train_stage3(config, str(stage2), demonstrations, tmp_path / "whole", observers=kill_at(1))
    assert again.already_finished
    with pytest.raises(UserError, match=r"seed=0, now seed=1"):
        train_stage3(config.model_copy(update={"seed": 1}), str(stage2), demonstrations, tmp_path / "whole")


@pytest.mark.parametrize("fingers", [0, 15])
def test_actions_are_learned_by_heart_and_served_in_the_robots_units(fingers, stage2, tmp_path):
    """A gripper; and the 18 dimensions of an arm with a hand of many joints, as xArm and XHand."""
    demonstrations = write_demonstrations(tmp_path / "raw", fingers=fingers)
    config = recipe(training__steps=120, training__checkpoint_every=120, data__batch_size=24)
    result = train_stage3(config, str(stage2 / "policy"), demonstrations, tmp_path / "run")
    rows = losses(tmp_path / "run")
    assert rows[-1]["action_l1"] < 0.15 * rows[0]["action_l1"]
    assert result.tests["demonstrations_l1"] == pytest.approx(rows[-1]["action_l1"], rel=0.3)
    assert result.tests["merge_change"] == 0
    episodes = episode_set(demonstrations, tmp_path / "episode_frames")
    asked, followed = requests(episodes)
    chunks = Predictor.load(result.policy).act_batch(asked)
    assert chunks.shape == (len(asked), CHUNK, 3 + fingers)
    errors = [np.abs(chunk[: len(true)] - true) for chunk, true in zip(chunks, followed, strict=True)]
    spread = np.concatenate([e.actions for e in episodes.episodes]).std(0)
    # A switch is the hardest to learn: more so among many dimensions that move slowly.
    assert (np.concatenate(errors).mean(0) < (0.5 if fingers else 0.25) * spread).all()


@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8}])
def test_steps_that_bfloat16_would_round_away_arrive(demonstrations, tmp_path, lora):
    vla = tiny_vla(dtype="bfloat16")
    write_policy(vla, load_tokenizer(vla.policy_config), tmp_path / "stage2")
    settings = {
        "steps": 4,
        "checkpoint_every": 1,
        "warmup_steps": 0,
        "weight_decay": 0.0,
        "learning_rate": 1e-5,
    }
    config = recipe(lora=lora, training=settings, data__cameras=1)
    result = train_stage3(config, str(tmp_path / "stage2"), demonstrations, tmp_path / "run")
    trained = load_file(tmp_path / "run" / "checkpoints" / "step-000004" / "model.safetensors")
    assert {tensor.dtype for tensor in trained.values()} == {torch.float32}
    if lora is None:
        before, after = vla.projector.fc3.weight.float(), trained["policy.vla.projector.fc3.weight"]
        # The cosine leaves 2.5 of 4 steps of 1e-5, all in one direction but for gradients that change theirs.
        assert 1e-5 < (after - before).abs().median() < 3e-5
    assert {t.dtype for t in load_file(result.policy / "model.safetensors").values()} == {torch.bfloat16}
    assert result.tests["merge_change"] < 5e-2
    asked, _ = requests(episode_set(demonstrations, tmp_path / "episode_frames"))
    third_view_only = replace(asked[0], images=asked[0].images[:1])
    assert np.isfinite(Predictor.load(result.policy).act_batch([third_view_only])).all()


@pytest.mark.slow
@pytest.mark.parametrize("sharding", [False, True])
def test_two_workers_train_like_one(demonstrations, stage2, tmp_path, sharding):
    config = recipe(lora={"rank": 4, "alpha": 8}, data__cameras=1)
    one = train_stage3(config, str(stage2), demonstrations, tmp_path / "one")
    config = recipe(lora={"rank": 4, "alpha": 8}, data__cameras=1, training__sharding=sharding)
    launch = partial(run_on_processes, workers=2, meeting=tmp_path / "meeting")
    two = train_stage3(config, str(stage2), demonstrations, tmp_path / "two", launch=launch)
    for mine, other in zip(losses(one.run), losses(two.run), strict=True):
        assert mine == pytest.approx(other, rel=1e-3), mine["step"]
    assert two.tests["demonstrations_l1"] == pytest.approx(one.tests["demonstrations_l1"], rel=1e-3)


def test_accumulation_is_exact(demonstrations, stage2, tmp_path):
    rows = []
    for parts in (1, 3):
        train_stage3(
            recipe(training__steps=2, training__accumulate=parts),
            str(stage2),
            demonstrations,
            tmp_path / str(parts),
        )
        rows.append(losses(tmp_path / str(parts)))
    for mine, other in zip(*rows, strict=True):
        for name, value in mine.items():
            assert value == pytest.approx(other[name], rel=1e-4, abs=1e-6), (name, mine["step"])


def test_vision_stays_and_a_named_policy_starts_untrained(demonstrations, stage2, tmp_path, monkeypatch):
    from_stage2 = train_stage3(
        recipe(training__steps=1), str(stage2), demonstrations, tmp_path / "pretrained"
    )
    before = load_file(stage2 / "policy" / "model.safetensors")
    after = load_file(from_stage2.policy / "model.safetensors")
    for name, tensor in before.items():
        if name.startswith("vision_backbone"):
            assert torch.equal(after[name], tensor), name
    monkeypatch.setitem(stage3_config.POLICIES, "tiny", tiny_policy_config())
    config = recipe(training__steps=1, head__proprioception=False)
    scratch = train_stage3(config, "tiny", demonstrations, tmp_path / "scratch")
    other = load_policy(scratch.policy)
    assert other.policy is not None
    assert other.policy.proprio_projector is None
    assert other.policy.action.interface == read_collection(demonstrations).interface
    fc1 = load_file(scratch.policy / "model.safetensors")["projector.fc1.weight"]
    assert not torch.allclose(fc1, after["projector.fc1.weight"], atol=1e-2)
    start = Start(base=stage2 / "policy")
    with pytest.raises(UserError, match=r"a run with base=None, now base=policy@"):
        train_stage3(config, "tiny", demonstrations, tmp_path / "scratch", start=start)


def test_the_latent_head_learns_codes_of_the_demonstrations(demonstrations, tmp_path, monkeypatch):
    root = write_version(tmp_path / "lake", pairs=4, held_out=0, frames=6, shards=1)
    stage1 = tiny_config(write_text_encoder(tmp_path / "bert"), training__steps=2, data__singles_per_batch=0)
    train_stage1(stage1, root, tmp_path / "stage1")
    monkeypatch.setitem(
        stage3_config.POLICIES,
        "tiny",
        tiny_policy_config(num_codes=8, vision=stage1.vision),
    )
    config = recipe(head__kind="latent", data__cameras=1, training__steps=3)
    with pytest.raises(UserError, match="give the stage-1 run"):
        train_stage3(config, "tiny", demonstrations, tmp_path / "run")
    start = Start(stage1=tmp_path / "stage1")
    result = train_stage3(config, "tiny", demonstrations, tmp_path / "run", start=start)
    assert all(row["loss"] > row["action_l1"] for row in losses(tmp_path / "run"))
    episodes = episode_set(demonstrations, tmp_path / "episode_frames", cameras=1)
    codes = episode_codes(episodes, tmp_path / "stage1", torch.device("cpu"))
    models = load_stage1(tmp_path / "stage1", torch.device("cpu"))
    frames = episodes.frames(episodes.episodes[0], "third_view")
    for t, later in ((0, 4), (STEPS - 1, STEPS - 1)):  # 0.4 s at 10 per second
        images = models.encoder.preprocess(torch.from_numpy(frames[[t, later]]))
        with torch.no_grad():
            z = models.encoder.adapted(images)[None]
            expected = models.latent_action.encode(z, models.text.encode(["press the dot"])).codes
        assert codes[0][t].tolist() == expected[0].tolist()
    merged = [replace(one, info=one.info.model_copy(update={"name": "same"})) for one in episodes.episodes]
    alike = replace(episodes, episodes=tuple(merged), frames_folder=tmp_path / "alike")
    alike.decode(1)
    again = episode_codes(alike, tmp_path / "stage1", torch.device("cpu"))
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(again, codes, strict=True))
    assert len(list((tmp_path / "alike").glob("codes-*/*.npy"))) == len(merged)
    chunk = Predictor.load(result.policy).act([np.array(frames[0])], "press the dot", [0.0, 5.0])
    assert chunk.shape == (CHUNK, 3)
    assert read_config(result.policy).codes_of == stage1_identity(tmp_path / "stage1")
    pretrained = tiny_vla(num_codes=8, vision=stage1.vision, codes_of="stage1@other")
    write_policy(pretrained, load_tokenizer(pretrained.policy_config), tmp_path / "pretrained")
    with pytest.raises(UserError, match=r"codes of .*stage1 \(stage1@.*trained on \(stage1@other\)"):
        train_stage3(config, str(tmp_path / "pretrained"), demonstrations, tmp_path / "other", start=start)


def test_a_policy_of_stage_3_keeps_its_action_head(demonstrations, stage2, tmp_path, monkeypatch):
    first = train_stage3(recipe(training__steps=20), str(stage2), demonstrations, tmp_path / "first")
    short = {"training__steps": 1, "training__learning_rate": 1e-9, "head__chunk": 2, "data__crop_area": 0.9}
    second = train_stage3(recipe(**short), str(tmp_path / "first"), demonstrations, tmp_path / "second")
    for name in ("action_head.pt", "proprio_projector.pt"):
        before, after = (torch.load(run.policy / name) for run in (first, second))
        for key, tensor in before.items():
            torch.testing.assert_close(after[key], tensor, atol=1e-6, rtol=0)
    assert read_config(second.policy).image.crop_area == 0.9
    found = (
        r"an action head of proprioception_dim=2, asked for is proprioception_dim=None; to begin with a new"
    )
    stateless = recipe(head__proprioception=False)
    with pytest.raises(UserError, match=found):
        train_stage3(stateless, str(first.policy), demonstrations, tmp_path / "third")
    monkeypatch.setitem(stage3_config.POLICIES, "tiny", tiny_policy_config())
    start = Start(base=first.policy)  # as the sentence says
    train_stage3(stateless, "tiny", demonstrations, tmp_path / "third", start=start)


def test_workers_may_begin_in_another_folder(demonstrations, stage2, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    shutil.copytree(demonstrations, tmp_path / "raw")
    shutil.copytree(stage2, tmp_path / "stage2")
    monkeypatch.chdir(tmp_path)

    def launch(worker) -> None:
        with contextlib.chdir(tmp_path / "elsewhere"):
            worker(torch.device("cpu"))

    train_stage3(recipe(training__steps=1), "stage2", Path("raw"), Path("run"), launch=launch)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_mistakes_are_named(demonstrations, stage2, tmp_path):
    def train(root: Path, policy: str, **changes: object) -> None:
        train_stage3(recipe(**changes), policy, root, tmp_path / "run")

    with pytest.raises(UserError, match=r"neither a folder with policy\.json.*nor one of tiny"):
        train(demonstrations, "nothing")
    start = Start(base=stage2 / "policy")
    with pytest.raises(UserError, match="has its weights, encoder included"):
        train_stage3(recipe(), str(stage2), demonstrations, tmp_path / "run", start=start)
    with pytest.raises(UserError, match=r"3 episodes a task are asked for"):
        train(demonstrations, str(stage2), data__episodes_per_task=3)
    with pytest.raises(UserError, match="holds no demonstrations"):
        train(stage2, str(stage2))
    broken = tmp_path / "broken"
    shutil.copytree(demonstrations, broken)
    folder = broken / "episodes" / "push_00000"
    shutil.copy(demonstrations / "episodes" / "push_00000" / "steps.npz", folder / "wrist.mp4")
    with pytest.raises(UserError, match=r"push_00000/wrist\.mp4 cannot be decoded"):
        train(broken, str(stage2))
    (folder / "wrist.mp4").unlink()
    with pytest.raises(UserError, match=r"There is no .*push_00000/wrist\.mp4: write it"):
        train(broken, str(stage2))
    shutil.copy(demonstrations / "episodes" / "push_00000" / "wrist.mp4", folder)
    info = (folder / "episode.json").read_text()
    for instruction, found in (("", "has no words"), ("push " * 200, "room for")):
        (folder / "episode.json").write_text(info.replace("push the dot", instruction))
        with pytest.raises(UserError, match=rf"1 of 4 clips cannot be trained on: push_00000 \(.*{found}"):
            train_stage3(recipe(), str(stage2), broken, tmp_path / f"run-{found}")
    with pytest.raises(UserError, match="leave `policy` out of its recipe"):
        train_stage3(recipe(policy=tiny_policy_config()), str(stage2), demonstrations, tmp_path / "run")
    (folder / "steps.npz").write_bytes(b"nothing")
    with pytest.raises(UserError, match="A demonstration is broken, unreadable_episode: push_00000"):
        train(broken, str(stage2))
    assert read_episode(demonstrations / "episodes" / "push_00000").info.steps == STEPS
