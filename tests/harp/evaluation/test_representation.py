"""Evaluation of a real tiny run: rows, files, what it refuses."""

import json

import numpy as np
import pytest

from data_schemas.errors import UserError
from harp.evaluation.pictures import project
from harp.evaluation.representation import evaluate_representation
from harp.training.stage1 import ADAPTERS, train_stage1
from tests.harp.tiny_version import write_version
from tests.harp.training.tiny_recipe import tiny_config, write_text_encoder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    version = write_version(folder / "lake", pairs=8, held_out=12, frames=8)
    config = tiny_config(write_text_encoder(folder / "bert"), training__steps=40)
    train_stage1(config, version, folder / "stage1")
    return folder / "stage1"


def test_rows_and_files(run):
    evaluation = evaluate_representation(run)
    assert list(evaluation.rows) == ["unadapted", "stage 1", "8×8 mean colour", "mean shift", "ridge"]
    before, after = evaluation.rows["unadapted"], evaluation.rows["stage 1"]
    assert evaluation.num_pairs == len(before.paired_distances) == 12
    assert after.paired_distance < before.paired_distance
    written = json.loads((run / "evaluation" / "evaluation.json").read_text())
    assert written["rows"]["stage 1"]["recall_at_1"] == after.recall_at_1
    assert np.allclose(written["rows"]["unadapted"]["paired_distances"], before.paired_distances)
    table = (run / "evaluation" / "retrieval.md").read_text()
    assert f"| stage 1 | {after.human_to_robot.recall_at_1:.1f} |" in table
    for name in ("umap.png", "paired_distance.png"):
        assert (run / "evaluation" / name).read_bytes()[:4] == b"\x89PNG"


def test_the_same_seed_projects_to_the_same_points():
    features = np.random.default_rng(0).normal(size=(24, 8))
    assert np.array_equal(project(features, 0), project(features, 0))


def test_unfinished_runs_and_too_few_pairs_are_refused(run, tmp_path):
    with pytest.raises(UserError, match=r"holds no training run"):
        evaluate_representation(tmp_path)
    few = write_version(tmp_path / "lake", pairs=2, held_out=1, frames=3)
    with pytest.raises(UserError, match="at least two held-out pairs"):
        evaluate_representation(run, few)
    adapters = (run / ADAPTERS).read_bytes()
    (run / ADAPTERS).unlink()
    with pytest.raises(UserError, match="not finished"):
        evaluate_representation(run)
    (run / ADAPTERS).write_bytes(adapters)
