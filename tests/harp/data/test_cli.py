"""`harp features build` says what it did, and does it once."""

import re

import torch
import yaml
from typer.testing import CliRunner

from harp.data.cli import app
from harp.training import distributed
from tests.harp.tiny_version import write_version
from tests.harp.training.tiny_recipe import tiny_config


def test_build_reports_and_repeats_nothing(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(distributed, "default_device", lambda: asked.append(1) or torch.device("cpu"))
    folder = write_version(tmp_path / "lake", pairs=3, held_out=1, humans=1, frames=4)
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(tiny_config(tmp_path / "no-text").model_dump(mode="json")))
    command = ["build", "--version", str(folder), "--recipe", str(recipe)]
    command += ["--features", str(tmp_path / "of[/bold]bold")]  # not to be read as markup
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 0, first.output
    assert asked  # a GPU, where there is one
    text = " ".join(first.output.split())
    # 3 pairs of 4 frames on two sides, and a human clip of 4.
    assert re.search(r"Encoded 28 frames of 2 of 2 shards in \d+ s: [\d,.]+ frames/s", text)
    assert f"MB of pooled features and human patch tokens in {tmp_path}/of[/bold]bold/" in text
    second = CliRunner().invoke(app, command)
    assert "Nothing to do: the features of all 2 shards are there." in " ".join(second.output.split())
