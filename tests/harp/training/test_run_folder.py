"""A run's folder is claimed for one request, and says in a sentence what is wrong with it."""

import json
from typing import Any

import pytest

from data_schemas.errors import UserError
from harp.recipes import load_stage1_recipe, load_stage2_recipe, load_stage3_recipe
from harp.training.run_folder import RunFolder, begun_request, check_stage, read_run


def test_a_file_cannot_be_a_runs_folder(tmp_path):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError, match="cannot be the folder of a run"):
            RunFolder(out, load_stage1_recipe("laptop"))
        with (
            pytest.raises(UserError, match="cannot be the folder of a run"),
            RunFolder.claimed(out, load_stage1_recipe("laptop")),
        ):
            pass


@pytest.mark.parametrize("kept", ["checkpoints/step-000001/", "result.json"])
def test_a_folder_holds_a_run_once_there_is_something_to_lose(tmp_path, kept):
    first, second = (load_stage1_recipe("laptop", [f"seed={seed}"]) for seed in (1, 2))
    for recipe in (first, second):
        with RunFolder.claimed(tmp_path, recipe):
            assert json.loads((tmp_path / "config.json").read_text())["seed"] == recipe.seed
    assert begun_request(tmp_path) is None
    path = tmp_path / kept
    path.parent.mkdir(exist_ok=True)
    path.mkdir() if kept.endswith("/") else path.write_text("{}")
    assert begun_request(tmp_path) == json.loads(second.model_dump_json())
    with (
        pytest.raises(UserError, match="holds a run with seed=2, now seed=1 is asked for"),
        RunFolder.claimed(tmp_path, first),
    ):
        pass


def test_a_living_run_keeps_its_request_before_its_first_checkpoint(tmp_path):
    first, second = (load_stage1_recipe("laptop", [f"seed={seed}"]) for seed in (1, 2))
    with RunFolder.claimed(tmp_path, first):
        with (
            pytest.raises(UserError, match="Another process is training"),
            RunFolder.claimed(tmp_path, second),
        ):
            pass
        assert json.loads((tmp_path / "config.json").read_text())["seed"] == 1


def test_a_run_of_another_harp_names_the_key(tmp_path):
    request: dict[str, Any] = {"version": "v", **json.loads(load_stage1_recipe("laptop").model_dump_json())}
    (tmp_path / "version_folder").write_text("lake/versions/v\n")
    (tmp_path / "config.json").write_text(json.dumps(request))
    assert read_run(tmp_path)[0] == load_stage1_recipe("laptop")
    request["losses"]["gone"] = 1
    (tmp_path / "config.json").write_text(json.dumps(request))
    with pytest.raises(UserError, match=r"another version of HARP, key 'losses\.gone'"):
        read_run(tmp_path)


def test_a_run_is_known_by_its_stage(tmp_path):
    recipes = load_stage1_recipe("laptop"), load_stage2_recipe("tiny"), load_stage3_recipe("tiny")
    for own, recipe in enumerate(recipes, start=1):
        run = tmp_path / f"stage{own}"
        RunFolder(run, recipe)
        check_stage(run, own)
        for other in {1, 2, 3} - {own}:
            with pytest.raises(UserError, match=f"stage{own} holds no run of stage {other}"):
                check_stage(run, other)
            with pytest.raises(UserError, match="holds a run of another stage; choose another folder"):
                RunFolder(run, recipes[other - 1])
    with pytest.raises(UserError, match="holds no run of stage 1"):
        check_stage(tmp_path, 1)
