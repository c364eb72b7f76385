"""Stage 2 on a tiny labelled version: learns by heart, resumes exactly, mixes, keeps frozen what is frozen."""

import contextlib
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file

from data_schemas.errors import UserError
from data_schemas.identity import file_sha256
from data_schemas.latent_actions import LABELS, LabelSet
from data_schemas.versions import LATEST_SUFFIX
from harp import policy_commands
from harp.data.policy_labels import LabelDataConfig, LabelledVersions, LabelSource, TransitionDraws
from harp.data.policy_loader import Stage2Loader, collate
from harp.data.shards import ShardReader
from harp.data.version import PublishedVersion
from harp.policy.checkpoints import load_policy, write_policy
from harp.policy.checkpoints.folder import read_config
from harp.policy.latent_tokens import generate_codes
from harp.policy.predict import camera_images
from harp.policy.tokenizer import load_tokenizer
from harp.training.policy_run import PolicyResult, Start, build_vla
from harp.training.stage1 import ADAPTERS
from harp.training.stage1_models import load_encoder
from harp.training.stage2 import train_stage2
from tests.harp.policy.tiny_policy import tiny_vla
from tests.harp.training.killed_runs import Killed, kill_at, losses
from tests.harp.training.labelled_world import FRAMES, HORIZON, World, make_world, recipe, train
from tests.harp.training.worker_processes import run_on_processes


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


def test_a_killed_run_gives_the_losses_of_one_never_killed(world, tmp_path):
    whole = train(world, tmp_path / "whole", recipe())
    with pytest.raises(Killed):
        train(world, tmp_path / "killed", recipe(), observers=kill_at(3))
    result = train(world, tmp_path / "killed", recipe())
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert (result.final, result.tests) == (whole.final, whole.tests)
    weights = [load_file(run.policy / "model.safetensors") for run in (whole, result)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert train(world, tmp_path / "whole", recipe(), observers=kill_at(1)).already_finished
    with pytest.raises(UserError, match=r"seed=0, now seed=1"):
        train(world, tmp_path / "whole", recipe(seed=1))


def test_codes_are_learned_by_heart_and_generated_by_the_written_policy(world, tmp_path):
    config = recipe(training__steps=80, training__checkpoint_every=80, data__batch_size=24)
    result = train(world, tmp_path / "run", config)
    rows = losses(tmp_path / "run")
    assert rows[-1]["loss"] < 0.05 * rows[0]["loss"]
    assert {rows[-1][f"accuracy_{place}"] for place in (1, 2, 3, 4)} == {1.0}
    assert rows[-1]["human_accuracy"] == rows[-1]["robot_accuracy"] == 1.0
    loaded = load_policy(result.policy)
    labelled = LabelledVersions.open(world.lake, LabelDataConfig(sources=(LabelSource(labels="first"),)))
    (pool,) = labelled.transitions("train")
    batch = collate(pool.members[:], ShardReader(world.version))
    assert batch.frames is not None
    pictures = [[frame] for frame in batch.frames.numpy()]
    with torch.no_grad():
        seen = loaded.vla.visual_tokens(camera_images(loaded.vla, pictures), batch.is_robot)
        codes = generate_codes(loaded.vla, seen, loaded.tokenizer.prompts(batch.instructions)).codes
    assert torch.equal(codes, batch.codes)
    # Of a held-out subject the constant code can be known, the side guessed, which subject it is not known.
    assert 0.25 <= result.tests["held_out_accuracy"] <= 0.75
    assert result.tests["held_out_transitions"] == 4
    assert 0.25 <= result.tests["majority_accuracy"] < 0.75


def test_the_encoder_is_that_of_stage_1_and_what_is_frozen_stays(world, tmp_path):
    trained = load_file(world.stage1 / ADAPTERS)
    up = next(name for name in trained if name.endswith("0.attn_adapter.up.weight"))
    frozen_block = torch.empty(0)
    for vision, adapters in (
        ("frozen", "stage1"),
        ("frozen", "identity"),
        ("adapters", "stage1"),
        ("all", "stage1"),
    ):
        result = train(world, tmp_path / f"{vision}-{adapters}", recipe(vision=vision, adapters=adapters))
        state = load_policy(result.policy).vla.vision.state_dict()
        equal = torch.equal(state[up], trained[up])
        if adapters == "identity":
            assert not state[up].any()
            assert trained[up].any()
        else:
            assert equal == (vision == "frozen"), vision
        block = state["backbones.0.blocks.0.attn.qkv.weight"]
        if vision == "frozen" and adapters == "stage1":
            frozen_block = block
        else:
            assert torch.equal(block, frozen_block) == (vision != "all")


@pytest.mark.parametrize("adapters", [True, False])
def test_the_encoder_of_stage_1_takes_the_place_of_the_bases(world, tmp_path, adapters):
    """OpenVLA trained its vision encoder further, so its ViTs are not those that the adapters fit."""
    encoder = load_encoder(world.stage1, adapters=adapters)
    base = tiny_vla(vision=encoder.config)
    write_policy(base, load_tokenizer(base.policy_config), tmp_path)
    vla, _ = build_vla(base.policy_config, Start(stage1=world.stage1, adapters=adapters, base=tmp_path))
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(vla.vision.state_dict()[name], tensor), name
    assert torch.equal(vla.projector.fc1.weight, base.projector.fc1.weight)


def test_labels_are_those_of_the_encoders_model_and_a_begun_run_keeps_them(world, tmp_path):
    shutil.copytree(world.lake, tmp_path / "lake")
    labels = tmp_path / "lake" / LABELS
    (labels / "several.json").unlink()
    own = LabelSet.model_validate_json((labels / "first.json").read_text())

    def add(key: str, **changes: object) -> None:
        other = own.model_copy(update={"key": key, "finished_at": "2026-02-01T00:00:00Z", **changes})
        (labels / f"{key}.json").write_text(other.model_dump_json())

    def begin(**changes: Any) -> PolicyResult:
        start = Start(stage1=world.stage1)
        return train_stage2(recipe(), tmp_path / "lake", tmp_path / "run", start=start, **changes)

    add("foreign", model="stage1@other")
    with pytest.raises(UserError, match=rf"foreign are by stage1@other and the encoder is of {own.model}"):
        begin(labels=("foreign",))
    with pytest.raises(Killed):
        begin(observers=kill_at(3))
    add("newer")
    assert begin().steps == 4
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert [source["labels"] for source in config["data"]["sources"]] == ["first"]
    assert read_config(tmp_path / "run" / "policy").codes_of == own.model == config["policy"]["codes_of"]
    (labels / "first.json").unlink()
    (labels / "newer.json").unlink()
    with pytest.raises(UserError, match=rf"has labels by stage1@other, none by {own.model}"):
        train_stage2(recipe(), tmp_path / "lake", tmp_path / "other", start=Start(stage1=world.stage1))


def test_a_begun_run_of_the_latest_version_is_continued_after_a_newer_one(world, tmp_path, capsys):
    lake, recipe_file = tmp_path / "lake", tmp_path / "recipe.yaml"
    shutil.copytree(world.lake, lake)
    (lake / LABELS / "several.json").unlink()
    recipe_file.write_text(yaml.safe_dump(recipe().model_dump(mode="json")))

    def publish(version_id: str) -> None:
        (lake / "versions" / f"tiny{LATEST_SUFFIX}").write_text(json.dumps({"version_id": version_id}))

    def call() -> None:
        policy_commands.train_stage2(
            tmp_path / "run", world.stage1, version="latest", lake=lake, recipe=str(recipe_file)
        )

    publish(world.version.version_id)
    call()
    newer = lake / "versions" / "newer"
    shutil.copytree(lake / "versions" / world.version.version_id, newer)
    manifest = json.loads((newer / "manifest.json").read_text())
    (newer / "manifest.json").write_text(json.dumps(manifest | {"version_id": "newer"}))
    publish("newer")
    capsys.readouterr()
    call()
    assert "Nothing to do" in capsys.readouterr().out


def test_workers_may_begin_in_another_folder(world, tmp_path, monkeypatch):
    shutil.copytree(world.lake.parent, tmp_path / "here")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def launch(worker) -> None:
        with contextlib.chdir(tmp_path / "elsewhere"):
            worker(torch.device("cpu"))

    start = Start(stage1=Path("stage1"))
    config = recipe(data__keep_features=True)
    train_stage2(config, Path("lake"), Path("run"), labels=("first",), start=start, launch=launch)
    assert (tmp_path / "here" / "clip_features").is_dir()
    assert not list((tmp_path / "elsewhere").iterdir())


def test_sources_sides_and_horizons(world):
    def pools(*sources: LabelSource, **data: Any):
        config = LabelDataConfig(sources=sources, **data)
        return LabelledVersions.open(world.lake, config).transitions("train")

    robot = LabelSource(labels="first", sides=("robot",), weight=3)
    human = LabelSource(labels="first", sides=("human",))
    mixed = pools(robot, human)
    draws = TransitionDraws(mixed, 4, seed=0)
    drawn = [t for step in range(6) for t in draws.draw(step)]
    assert sum(t.clip.side == "robot" for t in drawn) == 18
    assert draws.draw(3) == TransitionDraws(mixed, 4, seed=0).draw(3)
    (both,) = pools(LabelSource(labels="first"))
    assert len(both.members) == 6 * (FRAMES - HORIZON)  # 2 pairs, a human, a robot; nobody held out
    seen = {(t.clip.subject.subject_id, t.clip.side, t.frame) for t in both.members[:]}
    assert len(seen) == len(both.members)
    with pytest.raises(UserError, match=r"horizons of 0\.1, 0\.2 seconds.*set data\.horizon_seconds"):
        pools(LabelSource(labels="several"))
    (short,) = pools(LabelSource(labels="several"), horizon_seconds=0.1)
    assert len(short.members) == 6 * (FRAMES - 1)
    with pytest.raises(UserError, match="give each data once"):
        pools(robot, LabelSource(labels="first"))
    with pytest.raises(UserError, match="no labelled training clip"):
        pools(LabelSource(labels="first", datasets=("elsewhere",)))


def test_ranks_and_micro_batches_share_a_step_out(world):
    config = LabelDataConfig(sources=(LabelSource(labels="first"),))
    labelled = LabelledVersions.open(world.lake, config)
    draws, reader = TransitionDraws(labelled.transitions("train"), 8, 0), ShardReader(world.version)
    parts = [
        Stage2Loader(draws, reader, 9, rank=rank, world_size=2, accumulate=2).load(5, micro)
        for rank in (0, 1)
        for micro in (0, 1)
    ]
    whole = Stage2Loader(draws, reader, 9).load(5)
    rows = sorted(row for part in parts for row in part.codes.tolist())
    assert rows == sorted(whole.codes.tolist())
    with pytest.raises(UserError, match=r"batch of 8 batch_size cannot be split evenly over 3 ranks"):
        Stage2Loader(draws, reader, 9, world_size=3)


def test_accumulation_is_exact(world, tmp_path):
    runs = [
        train(world, tmp_path / str(parts), recipe(data__batch_size=8, training__accumulate=parts))
        for parts in (1, 4)
    ]
    assert_same_run(*runs)


@pytest.mark.slow
def test_two_workers_train_like_one(world, tmp_path):
    config = recipe(data__batch_size=8, training__accumulate=2, vision="adapters")
    one = train(world, tmp_path / "one", config)
    launch = partial(run_on_processes, workers=2, meeting=tmp_path / "meeting")
    two = train(world, tmp_path / "two", config, launch=launch)
    assert_same_run(one, two)


def test_workers_that_share_the_parameters_train_like_one(world, tmp_path):
    config = recipe(data__batch_size=8, training__accumulate=2)
    one = train(world, tmp_path / "one", config)
    shared = recipe(data__batch_size=8, training__accumulate=2, training__sharding=True)
    launch = partial(run_on_processes, workers=2, meeting=tmp_path / "meeting")
    two = train(world, tmp_path / "two", shared, launch=launch)
    assert_same_run(one, two)
    assert two.tests == pytest.approx(one.tests)


def test_a_killed_run_continues_on_workers_that_share_the_parameters(world, tmp_path):
    config = recipe(training__sharding=True)
    whole = train(world, tmp_path / "whole", config)
    with pytest.raises(Killed):
        train(world, tmp_path / "killed", config, observers=kill_at(3))
    launch = partial(run_on_processes, workers=2, meeting=tmp_path / "meeting")
    assert_same_run(whole, train(world, tmp_path / "killed", config, launch=launch))


def test_sharding_asks_for_a_frozen_encoder():
    with pytest.raises(ValueError, match="vision=frozen"):
        recipe(training__sharding=True, vision="adapters")


def assert_same_run(one: PolicyResult, two: PolicyResult) -> None:
    for mine, other in zip(losses(one.run), losses(two.run), strict=True):
        for name, value in mine.items():
            assert value == pytest.approx(other[name], rel=1e-5 if mine["step"] == 0 else 2e-3, abs=1e-5), (
                name
            )
    states = [load_file(run.policy / "model.safetensors") for run in (one, two)]
    for name, tensor in states[0].items():
        assert (tensor - states[1][name]).square().mean().sqrt() < 1e-4, name


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_what_the_policy_cannot_be_told_is_found_before_the_first_step(world, tmp_path, split):
    shutil.copytree(world.lake, tmp_path / "lake")
    version = tmp_path / "lake" / "versions" / world.version.version_id
    subject = world.version.subjects(split)[0].subject_id
    index = pq.read_table(version / "index.parquet")
    rows = [
        r | ({"instruction": "push " * 200} if r["subject_id"] == subject else {}) for r in index.to_pylist()
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=index.schema), version / "index.parquet")
    manifest = json.loads((version / "manifest.json").read_text())
    manifest["index_sha256"] = file_sha256(version / "index.parquet")
    (version / "manifest.json").write_text(json.dumps(manifest))
    opened = World(tmp_path / "lake", PublishedVersion.open(version), world.stage1)
    with pytest.raises(UserError, match=rf"1 of 5 clips cannot be trained on: {subject} \(.*room for"):
        train(opened, tmp_path / "run", recipe())
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_mistakes_are_named(world, tmp_path):
    with pytest.raises(UserError, match="no labelling is called 'other'"):
        train_stage2(recipe(), world.lake, tmp_path / "run", labels=("other",))
    with pytest.raises(UserError, match="has no labels of version"):
        train_stage2(recipe(), world.lake, tmp_path / "run", version_id="0000")
    config = recipe(data={"sources": [{"labels": "first"}]})
    with pytest.raises(UserError, match="use one of the two"):
        train_stage2(config, world.lake, tmp_path / "run", labels=("first",))
    with pytest.raises(UserError, match="those of stage 1 and no run is given"):
        train_stage2(recipe(), world.lake, tmp_path / "run", labels=("first",))
    with pytest.raises(UserError, match="holds no training run"):
        train(World(world.lake, world.version, tmp_path), tmp_path / "run", recipe())
