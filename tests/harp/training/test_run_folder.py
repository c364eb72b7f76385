"""A run's folder is claimed for one request, and says in a sentence what is wrong with it."""

import json

import pytest

from data_schemas.errors import UserError
from harp.recipes import load_stage1_recipe
from harp.training.run_folder import RunFolder, read_run


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
