"""Stage 1 end to end on a tiny version: learns, resumes exactly, refuses, keeps the human path frozen."""

import json
import multiprocessing
import os
import random
import signal
from contextlib import closing
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from data_schemas.errors import UserError
from harp.training.loop import TrainingDiverged
from harp.training.metrics import MetricsLog, read_metrics
from harp.training.progress import Observers
from harp.training.stage1 import ADAPTERS, LATENT_ACTION, OBJECTIVE, train_stage1
from tests.harp.tiny_version import write_version
from tests.harp.training.killed_runs import Killed, kill_at, losses
from tests.harp.training.tiny_recipe import tiny_config, write_text_encoder


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return write_text_encoder(tmp_path_factory.mktemp("weights") / "bert")


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lake")
    return write_version(folder, pairs=8, held_out=2, humans=2, robots=2, frames=10)


def test_a_killed_run_gives_the_losses_of_one_never_killed(version, text, tmp_path):
    config = tiny_config(text)
    whole = train_stage1(config, version, tmp_path / "whole")
    # Killed between two checkpoints (3 and 6), then again before the first new one.
    for step in (5, 5):
        with pytest.raises(Killed):
            train_stage1(config, version, tmp_path / "killed", observers=kill_at(step))
    result = train_stage1(config, version, tmp_path / "killed")
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert [row["step"] for row in losses(tmp_path / "killed")] == list(range(8))
    assert result.final == whole.final
    for name in (ADAPTERS, LATENT_ACTION):
        a, b = load_file(tmp_path / "killed" / name), load_file(tmp_path / "whole" / name)
        assert all(torch.equal(a[key], b[key]) for key in b)
    assert len(list((tmp_path / "killed" / "checkpoints").iterdir())) == 1


def test_tensorboard_shows_the_numbers_of_the_log_once_each(version, text, tmp_path):
    config = tiny_config(text, training__steps=4, training__checkpoint_every=2)
    with pytest.raises(Killed):
        train_stage1(config, version, tmp_path / "run", observers=kill_at(3))
    train_stage1(config, version, tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    rows = losses(tmp_path / "run")
    for name in rows[0].keys() - {"step"}:
        shown = events.Scalars(f"train/{name}")
        assert [event.step for event in shown] == [0, 1, 2, 3], name
        assert [event.value for event in shown] == pytest.approx([row[name] for row in rows]), name


def test_bf16_begins_as_fp32_does_and_resumes_as_exactly(version, text, tmp_path):
    settings = {"training__steps": 3, "training__checkpoint_every": 1}
    train_stage1(tiny_config(text, **settings), version, tmp_path / "fp32")
    config = tiny_config(text, training__precision="bf16", **settings)
    train_stage1(config, version, tmp_path / "bf16")
    with pytest.raises(Killed):
        train_stage1(config, version, tmp_path / "killed", observers=kill_at(2))
    train_stage1(config, version, tmp_path / "killed")
    assert losses(tmp_path / "killed") == losses(tmp_path / "bf16")
    exact, rounded = (losses(tmp_path / kind)[0] for kind in ("fp32", "bf16"))
    assert rounded["loss"] != exact["loss"]
    for name in ("loss", "alignment", "keypoints", "prediction"):
        assert rounded[name] == pytest.approx(exact[name], rel=0.03), name
    for file in (ADAPTERS, LATENT_ACTION):
        trained = load_file(tmp_path / "bf16" / file)
        assert {t.dtype for t in trained.values() if t.is_floating_point()} == {torch.float32}


def train_and_die(config, version, out, step):
    def observe(done, total, metrics):
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)

    train_stage1(config, version, out, observers=Observers(lambda done, total: None, observe))


def test_kill_9_at_a_random_step_changes_no_digit(version, text, tmp_path):
    config = tiny_config(text)
    step = random.SystemRandom().randrange(1, config.training.steps)
    train_stage1(config, version, tmp_path / "whole")
    process = multiprocessing.get_context("spawn").Process(
        target=train_and_die, args=(config, version, tmp_path / "killed", step)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(read_metrics(tmp_path / "killed")) == step
    train_stage1(config, version, tmp_path / "killed")
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole"), f"killed after step {step}"


def test_a_finished_run_is_not_done_again(version, text, tmp_path):
    config = tiny_config(text, training__steps=2)
    first = train_stage1(config, version, tmp_path / "run")
    stamp = (tmp_path / "run" / LATENT_ACTION).stat().st_mtime_ns
    second = train_stage1(config, version, tmp_path / "run", observers=kill_at(1))
    assert not first.already_finished
    assert second.already_finished
    assert (second.steps, second.final) == (2, first.final)
    assert (tmp_path / "run" / LATENT_ACTION).stat().st_mtime_ns == stamp


def test_another_configuration_in_the_same_folder_is_refused(version, text, tmp_path):
    train_stage1(tiny_config(text, training__steps=1), version, tmp_path / "run")
    with pytest.raises(
        UserError, match=r"holds a run with training\.steps=1, now training\.steps=2 is asked for"
    ):
        train_stage1(tiny_config(text, training__steps=2), version, tmp_path / "run")


def test_losses_fall_and_adapters_move(version, text, tmp_path):
    config = tiny_config(text, training__steps=60, training__checkpoint_every=60, data__singles_per_batch=0)
    train_stage1(config, version, tmp_path / "run")
    rows = read_metrics(tmp_path / "run")
    for name in ("prediction", "paired_distance"):
        first, last = (sum(row[name] for row in part) / 10 for part in (rows[:10], rows[-10:]))
        assert last < 0.9 * first, name
    assert rows[0]["paired_distance"] == pytest.approx(rows[0]["reference_distance"], abs=1e-6)
    assert rows[-1]["paired_distance"] < rows[-1]["reference_distance"]
    assert rows[-1]["code_perplexity"] > 1.5
    up = [v for k, v in load_file(tmp_path / "run" / ADAPTERS).items() if k.endswith("up.weight")]
    assert any(weight.abs().max() > 0 for weight in up)


@pytest.mark.parametrize(
    ("paired", "single", "objective"),
    [
        ("self", "self", "none"),
        ("both", "none", "l2"),
        ("cross", "none", "hr_style"),
        ("cross", "self", "hr"),
    ],
)
def test_every_switch_trains(version, text, tmp_path, paired, single, objective):
    config = tiny_config(
        text,
        training__steps=2,
        paired_prediction=paired,
        single_prediction=single,
        losses={"alignment": {"objective": objective}},
        training__human_token_cache_gb=0,
    )
    assert train_stage1(config, version, tmp_path / "run").steps == 2
    assert (tmp_path / "run" / OBJECTIVE).is_file() == (objective == "hr")


def test_pooling_by_attention_needs_no_context_frames(version, text, tmp_path):
    finals = []
    for gigabytes in (0.0, 1.0):  # tokens computed, tokens kept
        config = tiny_config(
            text,
            training__steps=1,
            training__human_token_cache_gb=gigabytes,
            data__context_frames=0,
            losses={"alignment": {"objective": "hr"}},
        )
        finals.append(train_stage1(config, version, tmp_path / str(gigabytes)).final)
    assert finals[0]["alignment"] == pytest.approx(finals[1]["alignment"], rel=1e-2)  # kept in bfloat16


@pytest.mark.parametrize("objective", ["hr", "hr_style"])
def test_alignment_alone_has_no_latent_action_model(version, text, tmp_path, objective):
    config = tiny_config(
        text,
        training__steps=20,
        training__adapter_learning_rate=1e-2,
        training__checkpoint_every=20,
        latent_action=None,
        data__singles_per_batch=0,
        losses={"alignment": {"objective": objective}},
    )
    train_stage1(config, version, tmp_path / "run")
    rows = read_metrics(tmp_path / "run")
    assert "prediction" not in rows[0]
    assert sum(row["alignment"] for row in rows[-5:]) < sum(row["alignment"] for row in rows[:5])
    assert (tmp_path / "run" / ADAPTERS).is_file()
    assert not (tmp_path / "run" / LATENT_ACTION).is_file()


def test_alignment_alone_without_pairs_is_one_sentence(text, tmp_path):
    version = write_version(tmp_path / "lake", pairs=0, held_out=0, humans=3, robots=3, frames=4)
    config = tiny_config(text, latent_action=None)
    with pytest.raises(UserError, match=r"Without latent_action a run needs pairs .* 3 human \(train\)"):
        train_stage1(config, version, tmp_path / "run")


def test_a_log_that_is_being_cut_back_when_the_run_is_killed_keeps_its_rows(tmp_path, monkeypatch):
    with closing(MetricsLog(tmp_path, 0)) as log:
        for step in range(3):
            log.write(step, {"loss": 1.0})

    def die(path, text):
        path.open("w").close()
        raise Killed

    monkeypatch.setattr(Path, "write_text", die)
    with pytest.raises(Killed):
        MetricsLog(tmp_path, 2)
    assert [row["step"] for row in read_metrics(tmp_path)] == [0, 1, 2]


def test_a_loss_that_is_not_finite_names_step_and_data(version, text, tmp_path):
    config = tiny_config(text, training__learning_rate=1e30, training__gradient_clip=1e30, training__steps=8)
    with pytest.raises(
        TrainingDiverged, match=r"Not finite at step \d+: .*loss.*; the batch holds [0-9a-f]{16}"
    ):
        train_stage1(config, version, tmp_path / "run")
    assert not (tmp_path / "run" / "result.json").exists()


def test_workers_that_begin_in_another_folder_find_lake_run_and_features(
    version, text, tmp_path, monkeypatch
):
    (tmp_path / "elsewhere").mkdir()

    def launch(worker):
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path / "elsewhere")
            worker(torch.device("cpu"))

    monkeypatch.chdir(tmp_path)
    (tmp_path / "lake").symlink_to(version.parents[1])
    config, relative = (
        tiny_config(text, training__steps=1),
        Path("lake") / version.relative_to(version.parents[1]),
    )
    train_stage1(config, relative, Path("runs/a"), launch=launch)
    train_stage1(config, relative, Path("runs/b"), launch=launch, feature_folder=Path("features"))
    assert {path.name for path in tmp_path.iterdir()} == {"elsewhere", "lake", "runs", "features"}
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"a", "b", "frozen_features"}
    assert not list((tmp_path / "elsewhere").iterdir())


def test_result_file_is_plain_json(version, text, tmp_path):
    train_stage1(tiny_config(text, training__steps=1), version, tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["version_id"] == version.name
    assert set(result) == {"version_id", "steps", "seconds_per_step", "final"}


def test_a_folder_is_trained_in_by_one_process_only(version, text, tmp_path):
    config, refused = tiny_config(text), []

    def train_too(done, total, metrics):
        with pytest.raises(UserError, match="Another process is training"):
            train_stage1(config, version, tmp_path / "run")
        refused.append(done)

    train_stage1(config, version, tmp_path / "run", observers=Observers(lambda done, total: None, train_too))
    assert len(refused) == config.training.steps
    assert train_stage1(config, version, tmp_path / "run").already_finished
