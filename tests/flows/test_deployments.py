"""Every deployment of prefect.yaml names a flow that exists and parameters that the flow accepts."""

import importlib
from pathlib import Path

import pytest
import yaml
from prefect import Flow

from harp.recipes import load_stage1_recipe
from pipelines.recipe import load_curate_recipe

ROOT = Path(__file__).parents[2]
DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=[d["name"] for d in DEPLOYMENTS])
def test_entrypoint_imports_and_accepts_the_parameters(deployment: dict):
    file, function = deployment["entrypoint"].split(":")
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    flow = getattr(module, function)
    assert isinstance(flow, Flow)
    flow.validate_parameters(deployment["parameters"])
    if flow.name == "curate":
        load_curate_recipe(deployment["parameters"]["recipe"])
    if flow.name == "train":
        load_stage1_recipe(deployment["parameters"]["recipe"])


def test_every_curation_recipe_has_a_deployment():
    deployed = {d["parameters"]["recipe"] for d in DEPLOYMENTS if d["entrypoint"].startswith("flows/curate")}
    assert deployed == {path.stem for path in (ROOT / "pipelines" / "recipes").glob("*.yaml")}
