"""A run's folder is claimed for one request, and says in a sentence what is wrong with it."""

import json

import pytest

from data_schemas.errors import UserError
from harp.recipes import load_stage1_recipe, load_stage2_recipe, load_stage3_recipe
from harp.training.run_folder import RunFolder, check_stage, read_run


def test_a_file_cannot_be_a_runs_folder(tmp_path):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError, match="cannot be the folder of a run"):
            RunFolder(out, load_stage1_recipe("laptop"))


def test_a_run_of_another_harp_names_the_key(tmp_path):
    request = {"version": "v", **json.loads(load_stage1_recipe("laptop").model_dump_json())}
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
