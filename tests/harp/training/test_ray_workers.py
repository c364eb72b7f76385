"""Where a run trains: in this process, on a cluster, on GPUs where there are enough, and never on less in silence."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import torch

from data_schemas.errors import UserError
from harp.ray_start import connect_ray
from harp.training.launch import launcher
from harp.training.metrics import read_metrics
from harp.training.ray_workers import OnRay, use_gpus
from harp.training.stage1 import train_stage1
from tests.faults.services import RayCluster
from tests.harp.tiny_version import write_version
from tests.harp.training.tiny_recipe import tiny_config, write_text_encoder

TOO_FEW = r"2 workers want a GPU each and the Ray cluster has 1: give --workers 1, or hide the GPUs"


@pytest.fixture
def one_gpu() -> Iterator[None]:
    """Ray with two CPUs, and a GPU by declaration; that of other tests is such a one, too."""
    owned = not ray.is_initialized()
    if owned:
        connect_ray(None, num_cpus=2, num_gpus=1)
    yield
    if owned:
        ray.shutdown()


@pytest.mark.parametrize(
    ("workers", "cluster", "expected"),
    [
        (2, {"CPU": 2}, False),
        (1, {"CPU": 2}, False),
        (1, {"CPU": 2, "GPU": 1}, True),
        (4, {"CPU": 64, "GPU": 4}, True),
        (2, {"CPU": 64, "GPU": 4}, True),
    ],
)
def test_every_worker_has_a_gpu_or_none_has(workers: int, cluster: dict[str, float], expected: bool) -> None:
    assert use_gpus(workers, cluster) is expected


@pytest.mark.parametrize(
    ("workers", "cluster", "said"),
    [
        (8, {"CPU": 64, "GPU": 4}, r"8 workers want a GPU each and the Ray cluster has 4: give --workers 4"),
        (2, {"CPU": 2, "GPU": 1}, TOO_FEW),
        (3, {"CPU": 2, "GPU": 8}, r"3 workers need as many CPUs; the Ray cluster has 2"),
        (1, {}, r"1 worker needs a CPU; the Ray cluster has 0"),
    ],
)
def test_what_is_too_few_is_said_with_both_numbers(
    workers: int, cluster: dict[str, float], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        use_gpus(workers, cluster)


def test_gpus_that_do_not_suffice_are_not_left_idle(one_gpu: None, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=TOO_FEW):
        OnRay(2, tmp_path)(lambda device: None)
    assert not list(tmp_path.iterdir()), "Ray Train did not begin"


def test_one_worker_goes_to_a_cluster_and_else_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert launcher(1, tmp_path) is None
    assert launcher(2, tmp_path) == OnRay(2, tmp_path)
    assert launcher(1, tmp_path, "head:6379") == OnRay(1, tmp_path, "head:6379")
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert launcher(1, tmp_path) == OnRay(1, tmp_path)


def test_a_run_in_this_process_says_on_what(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    version = write_version(tmp_path / "lake", pairs=4, held_out=0, humans=2, frames=8)
    config = tiny_config(write_text_encoder(tmp_path / "bert"), training__steps=1)
    with caplog.at_level(logging.INFO, "harp"):
        train_stage1(config, version, tmp_path / "run")
    expected = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "the CPU"
    assert f"Training on {expected}" in caplog.messages


@pytest.mark.slow
def test_a_cluster_trains_what_one_process_trains(tmp_path: Path) -> None:
    """By one worker, as a machine without GPU gives it to the cluster that has the only one."""
    version = write_version(tmp_path / "lake", pairs=4, held_out=0, humans=2, frames=8)
    config = tiny_config(write_text_encoder(tmp_path / "bert"), training__steps=3)
    train_stage1(config, version, tmp_path / "here")
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(config.model_dump_json())  # which is YAML as well
    cluster = RayCluster(tmp_path)
    try:
        command = [sys.executable, "-m", "harp", "train", "stage1", "--version", version]
        done = subprocess.run(
            [*command, "--recipe", recipe, "--out", tmp_path / "there"],
            env=os.environ | cluster.environment,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        cluster.stop()
    assert done.returncode == 0, done.stderr
    assert "Training on 1 CPU worker" in done.stderr
    assert (tmp_path / "there" / "ray").is_dir(), "Ray Train's records"
    here, there = (read_metrics(tmp_path / run) for run in ("here", "there"))
    assert [row["loss"] for row in there] == pytest.approx([row["loss"] for row in here], rel=1e-5)
