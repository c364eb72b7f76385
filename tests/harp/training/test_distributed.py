"""Two workers and accumulated micro-batches give what one worker gives for the whole batch."""

from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from data_schemas.errors import UserError
from harp.training.config import Stage1Config
from harp.training.loop import TrainingDiverged
from harp.training.metrics import read_metrics
from harp.training.ray_workers import OnRay
from harp.training.stage1 import ADAPTERS, LATENT_ACTION, WorkerPaths, run_worker, train_stage1
from tests.harp.tiny_version import write_version
from tests.harp.training.tiny_recipe import tiny_config, write_text_encoder
from tests.harp.training.worker_processes import run_on_processes

STEPS = 5
PER_WORKER = ("seconds",)
OF_MICRO_BATCHES = ("other_distance",)
WITHOUT_EFFECT = ("to_codebook.bias", "latent_norm.human.running_mean", "latent_norm.robot.running_mean")
"""Latents are normalized after the bias: its gradient is rounding, which AdamW turns into steps, and the mean follows."""
ROUNDING = 1e-4
"""Root mean square, of weights that AdamW moved by up to 5 steps of 3e-3."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    text = write_text_encoder(folder / "bert")
    return text, write_version(folder / "lake", pairs=8, held_out=2, humans=4, robots=4, frames=10)


def config(text: Path, objective: str, **changes: object) -> Stage1Config:
    base = tiny_config(
        text,
        training__steps=STEPS,
        data__singles_per_batch=4,
        losses={"alignment": {"objective": objective}},
        **changes,
    )
    sizes = base.latent_action and base.latent_action.model_copy(
        update={"normalize_latents": "none" if objective == "l2" else "embodiment"}
    )
    return base.model_copy(update={"latent_action": sizes})


def cases(text: Path) -> dict[str, Stage1Config]:
    return {
        "srpd": config(text, "srpd"),
        "hr": config(text, "hr"),
        "hr alone": config(text, "hr", latent_action=None),
        # Neither negatives nor normalization: accumulation is exact.
        "accumulated": config(text, "l2", training__accumulate=2),
    }


def run_all(configs: dict[str, Stage1Config], version: Path, out: Path, device: torch.device) -> None:
    for name, case in configs.items():
        run_worker(case, WorkerPaths(version, out / name, out / "features"), device)


def assert_same_run(a: Path, b: Path, apart: tuple[str, ...] = ()) -> None:
    """Equal in the first step, gradient norms included; then rounding grows, where AdamW divides by tiny gradients."""
    first, second = read_metrics(a), read_metrics(b)
    assert len(first) == len(second) == STEPS
    for mine, other in zip(first, second, strict=True):
        assert mine.keys() == other.keys()
        for name in mine.keys() - set(PER_WORKER) - set(apart):
            tolerance = 1e-5 if mine["step"] == 0 else 2e-3
            assert mine[name] == pytest.approx(other[name], rel=tolerance, abs=1e-6), (name, mine["step"])
    for file in (ADAPTERS, LATENT_ACTION):
        if (a / file).is_file():
            mine, other = load_file(a / file), load_file(b / file)
            for name in mine.keys() - set(WITHOUT_EFFECT):
                apart_by = (mine[name] - other[name]).float().square().mean().sqrt().item()
                assert apart_by < ROUNDING, f"{file} {name}"


def test_two_workers_train_like_one(world, tmp_path):
    text, version = world
    for name in cases(text):
        for kind in ("one", "two"):
            (tmp_path / kind / name).mkdir(parents=True)
    run_all(cases(text), version, tmp_path / "one", torch.device("cpu"))
    work = partial(run_all, cases(text), version, tmp_path / "two")
    run_on_processes(work, 2, tmp_path / "meeting")
    for name in cases(text):
        apart = OF_MICRO_BATCHES if name == "accumulated" else ()
        assert_same_run(tmp_path / "one" / name, tmp_path / "two" / name, apart)


def train_alone(case: Stage1Config, version: Path, out: Path, device: torch.device) -> None:
    run_worker(case, WorkerPaths(version, out, out / "features"), device)


@pytest.mark.slow
def test_workers_do_not_wait_for_adapters_that_nothing_runs_through(world, tmp_path):
    text, _ = world
    version = write_version(tmp_path / "lake", pairs=0, held_out=0, humans=4, frames=10)
    case = config(text, "srpd")  # asks for pairs, which the version does not have
    for kind in ("one", "two"):
        (tmp_path / kind).mkdir()
    train_alone(case, version, tmp_path / "one", torch.device("cpu"))
    run_on_processes(partial(train_alone, case, version, tmp_path / "two"), 2, tmp_path / "meeting")
    assert_same_run(tmp_path / "one", tmp_path / "two")


def test_accumulation_is_exact_without_negatives_and_normalization(world, tmp_path):
    text, version = world
    for parts in (1, 2):
        train_stage1(config(text, "l2", training__accumulate=parts), version, tmp_path / str(parts))
    assert_same_run(tmp_path / "1", tmp_path / "2", OF_MICRO_BATCHES)


def test_a_batch_that_cannot_be_split_is_refused(world, tmp_path):
    text, version = world
    with pytest.raises(UserError, match=r"cannot be split evenly .* set data"):
        train_stage1(config(text, "l2", training__accumulate=3), version, tmp_path / "run")
    assert not (tmp_path / "frozen_features").exists()
    train_stage1(
        config(text, "l2"), version, tmp_path / "run"
    )  # the refused request does not hold the folder


@pytest.mark.slow
def test_ray_train_runs_the_same_function(world, tmp_path):
    text, version = world
    case = config(text, "srpd")
    train_stage1(case, version, tmp_path / "one")
    result = train_stage1(case, version, tmp_path / "two", launch=OnRay(2, tmp_path / "two"))
    assert_same_run(tmp_path / "one", tmp_path / "two")
    assert result.steps == STEPS
    diverging = config(text, "srpd", training__learning_rate=1e30, training__gradient_clip=1e30)
    with pytest.raises(TrainingDiverged, match="Not finite at step"):
        train_stage1(diverging, version, tmp_path / "bad", launch=OnRay(2, tmp_path / "bad"))
