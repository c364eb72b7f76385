"""Evaluation of a real tiny run: rows, files, what it refuses."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from data_schemas.errors import UserError
from data_schemas.identity import file_sha256
from harp.data.shards import ShardReader
from harp.data.version import PublishedVersion
from harp.evaluation import representation
from harp.evaluation.pictures import project
from harp.evaluation.representation import evaluate_representation
from harp.evaluation.retrieval import retrieve
from harp.latent_action.language import FrozenTextEncoder
from harp.latent_action.model import LatentActionModel
from harp.training.run_folder import read_run
from harp.training.stage1 import ADAPTERS, LATENT_ACTION, train_stage1
from harp.vision.encoder import load_vision_encoder
from tests.harp.tiny_version import write_version
from tests.harp.training.tiny_recipe import tiny_config, write_text_encoder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    version = write_version(folder / "lake", pairs=8, held_out=12, frames=8)
    config = tiny_config(
        write_text_encoder(folder / "bert"), training__steps=40, latent_action__normalize_latents="embodiment"
    )
    train_stage1(config, version, folder / "stage1")
    return folder / "stage1"


@pytest.fixture(scope="module")
def shown():
    return []


@pytest.fixture(scope="module")
def evaluation(run, shown):
    return evaluate_representation(run, progress=lambda *state: shown.append(state))


def test_every_pair_moves_a_bar(evaluation, shown):
    for name, pairs in (("training pairs", 8), ("held-out pairs", 12), ("adapted", 12)):
        assert [state[1:] for state in shown if state[0] == name] == [(n, pairs) for n in range(pairs + 1)]


def test_rows_and_files(run, evaluation):
    assert list(evaluation.rows) == ["unadapted", "stage 1", "8×8 mean colour", "mean shift", "ridge"]
    before, after = evaluation.rows["unadapted"], evaluation.rows["stage 1"]
    assert evaluation.num_pairs == len(before.paired_distances) == 12
    assert after.paired_distance < before.paired_distance
    written = json.loads((run / "evaluation" / "evaluation.json").read_text())
    assert written["rows"]["stage 1"]["recall_at_1"] == after.recall_at_1
    assert np.allclose(written["rows"]["unadapted"]["paired_distances"], before.paired_distances)
    table = (run / "evaluation" / "evaluation.md").read_text()
    assert f"| stage 1 | {after.human_to_robot.recall_at_1:.1f} |" in table
    for name in ("umap.png", "umap_latent.png", "paired_distance.png"):
        assert (run / "evaluation" / name).read_bytes()[:4] == b"\x89PNG"


def test_features_and_codes_are_those_of_the_models_called_directly(run, evaluation):
    config, folder = read_run(run)
    version = PublishedVersion.open(folder)
    reader = ShardReader(version)
    torch.manual_seed(config.seed)
    encoder = load_vision_encoder(config.vision).eval()
    encoder.load_adapter_state_dict(load_file(run / ADAPTERS))
    assert config.latent_action is not None
    text = FrozenTextEncoder(config.text.model)
    model = LatentActionModel(encoder.dim, text.dim, config.latent_action).eval()
    model.load_state_dict(load_file(run / LATENT_ACTION))
    human, robot, agreements = [], [], []
    for pair in version.subjects("held_out", "pair"):  # of 8 frames at 10 fps, one segment each
        (segment,) = pair.segments
        clips = [torch.from_numpy(reader.frames(segment, side, range(8))) for side in ("human", "robot")]
        with torch.no_grad():
            z_human = encoder.frozen(encoder.preprocess(clips[0]))
            z_robot = encoder.adapted(encoder.preprocess(clips[1]))
        video = [0, 2, 5, 7]
        human.append(z_human[video].mean((0, 1)).numpy())
        robot.append(z_robot[video].mean((0, 1)).numpy())
        starts = [0, 1, 2, 3]
        with torch.no_grad():
            codes = [
                model.encode(
                    torch.stack([torch.stack((z[t], z[t + 4])) for t in starts]).bfloat16().float(),
                    text.encode([pair.instruction] * 4),
                    torch.full((4,), is_robot),
                ).codes
                for is_robot, z in ((False, z_human), (True, z_robot))
            ]
        agreements.append(100 * (codes[0] == codes[1]).double().mean().item())
    expected = retrieve(np.array(human), np.array(robot))
    np.testing.assert_allclose(
        evaluation.rows["stage 1"].paired_distances, expected.paired_distances, atol=1e-6
    )
    assert evaluation.rows["stage 1"].recall_at_1 == expected.recall_at_1
    np.testing.assert_allclose(evaluation.latent["stage 1"].agreement, agreements)


def test_a_second_call_computes_nothing_until_something_changes(run, evaluation, tmp_path, monkeypatch):
    def refuse(*arguments, **keywords):
        raise AssertionError("encoded again")

    with monkeypatch.context() as patch:
        patch.setattr(representation, "load_encoder", refuse)
        assert evaluate_representation(run).to_json() == evaluation.to_json()
        with pytest.raises(AssertionError, match="encoded again"):
            evaluate_representation(run, max_pairs=5, out=tmp_path / "five")
        copy = tmp_path / "copy"
        shutil.copytree(run, copy)
        adapters = load_file(copy / ADAPTERS)
        save_file({name: tensor + 0.01 for name, tensor in adapters.items()}, copy / ADAPTERS)
        with pytest.raises(AssertionError, match="encoded again"):
            evaluate_representation(copy)


def test_another_version_shares_nothing_but_the_fit(run, evaluation, tmp_path):
    other = write_version(tmp_path / "lake", pairs=0, held_out=7, frames=9, seed=5)
    result = evaluate_representation(run, other, max_pairs=6, pictures=False)
    assert result.num_pairs == 6
    assert "ridge" in result.rows
    folder = run / "evaluation" / result.version_id
    assert (folder / "evaluation.json").is_file()
    assert not list(folder.glob("*.png"))
    drawn = evaluate_representation(run, other, max_pairs=6)
    assert drawn.to_json() == result.to_json()
    assert (folder / "umap.png").is_file()


def test_baselines_are_fitted_on_the_pairs_of_the_training(tmp_path, monkeypatch):
    version = write_version(tmp_path / "lake", pairs=8, held_out=2, frames=4)
    config = tiny_config(
        write_text_encoder(tmp_path / "bert"),
        training__steps=1,
        data__paired_fraction=0.25,
        data__pairs_per_batch=2,
    )
    train_stage1(config, version, tmp_path / "run")
    fitted = []

    def shift(human, robot, queries):
        fitted.append(len(human))
        return queries

    monkeypatch.setattr(representation, "mean_shift", shift)
    evaluate_representation(tmp_path / "run", pictures=False)
    assert fitted == [2]


def test_a_version_that_holds_out_what_was_trained_on_is_refused(tmp_path):
    version = write_version(tmp_path / "lake", pairs=5, held_out=2, frames=4)
    config = tiny_config(write_text_encoder(tmp_path / "bert"), training__steps=1)
    train_stage1(config, version, tmp_path / "run")
    other = version.with_name("all-held-out")
    other.mkdir()
    rows = pq.read_table(version / "index.parquet")
    records = [row | {"split": "held_out"} for row in rows.to_pylist()]
    pq.write_table(pa.Table.from_pylist(records, schema=rows.schema), other / "index.parquet")
    manifest = json.loads((version / "manifest.json").read_text())
    manifest |= {"version_id": other.name, "index_sha256": file_sha256(other / "index.parquet")}
    (other / "manifest.json").write_text(json.dumps(manifest))
    shutil.copytree(tmp_path / "lake", tmp_path / "another")
    for lake in ("lake", "another"):
        held_out = tmp_path / lake / "versions" / other.name
        with pytest.raises(UserError, match="trained on 5 of the 7 held-out pairs of version all-held-out"):
            evaluate_representation(tmp_path / "run", held_out, pictures=False)


def test_one_folder_for_two_versions_holds_the_figures_of_the_last(run, tmp_path):
    """Versions differ where pairs and frame counts do not, as after another alignment."""
    for number in (2, 3):
        lake = tmp_path / str(number)
        version = write_version(lake, pairs=0, held_out=2, frames=4, keypoints=number, seed=5)
        result = evaluate_representation(run, version, tmp_path / "out", pictures=False)
        assert result.version_id == version.name


def test_pictures_are_of_the_evaluation_beside_them(run, evaluation, tmp_path):
    drawn = [tmp_path / name for name in representation.PICTURES]
    evaluate_representation(run, out=tmp_path)
    before = [path.read_bytes() for path in drawn]
    evaluate_representation(run, out=tmp_path, max_pairs=5, pictures=False)
    assert not any(path.exists() for path in drawn)
    evaluate_representation(run, out=tmp_path, max_pairs=5)
    assert all(path.read_bytes() != old for path, old in zip(drawn, before, strict=True))


def test_intervals_compare_rows_pair_by_pair(evaluation):
    advantages = dict(evaluation.advantages())
    for name in ("unadapted", "ridge"):
        gained = evaluation.rows["stage 1"].recall_at_1 - evaluation.rows[name].recall_at_1
        assert advantages[name].mean == pytest.approx(gained)
        assert advantages[name].low <= gained <= advantages[name].high


def test_the_same_seed_projects_to_the_same_points():
    features = np.random.default_rng(0).normal(size=(24, 8))
    assert np.array_equal(project(features, 0), project(features, 0))


def test_projecting_leaves_the_number_of_threads_as_it_was():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        project(np.random.default_rng(0).normal(size=(20, 8)), 0)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_unfinished_runs_and_too_few_pairs_are_refused(run, tmp_path):
    with pytest.raises(UserError, match=r"holds no training run"):
        evaluate_representation(tmp_path)
    few = write_version(tmp_path / "lake", pairs=2, held_out=1, frames=3)
    with pytest.raises(UserError, match="at least two held-out pairs"):
        evaluate_representation(run, few)
    unfinished = tmp_path / "unfinished"
    shutil.copytree(run, unfinished)
    (unfinished / "result.json").unlink()
    with pytest.raises(UserError, match="not finished"):
        evaluate_representation(unfinished)
