"""What prefect.yaml promises: every deployment runs a flow that exists, on parameters, schedules and limits that hold."""

import importlib
import subprocess
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml
from prefect import Flow
from prefect.client.schemas.schedules import CronSchedule
from prefect.events import DeploymentEventTrigger
from prefect.events.schemas.automations import AutomationCore, EventTrigger
from prefect.exceptions import ParameterTypeError

from flows.curate import curate
from flows.reprocess import reprocess
from harp.recipes import load_stage1_recipe
from pipelines.recipe import load_curate_recipe
from pipelines.reprocess import STAGES, stage_named

ROOT = Path(__file__).parents[2]
DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
RECIPES = {path.stem for path in (ROOT / "pipelines" / "recipes").glob("*.yaml")}


def flow_of(deployment: dict) -> Flow:
    file, function = deployment["entrypoint"].split(":")
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    return getattr(module, function)


def full_name(deployment: dict) -> str:
    return f"{flow_of(deployment).name}/{deployment['name']}"


def of_flow(name: str) -> list[dict]:
    return [deployment for deployment in DEPLOYMENTS if flow_of(deployment).name == name]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=full_name)
def test_entrypoint_imports_and_accepts_the_parameters(deployment: dict):
    flow = flow_of(deployment)
    assert isinstance(flow, Flow)
    flow.validate_parameters(deployment["parameters"])
    if flow.name == "curate":
        load_curate_recipe(deployment["parameters"]["recipe"])
    if flow.name == "train":
        load_stage1_recipe(deployment["parameters"]["recipe"])


def test_names_are_unique():
    names = [full_name(deployment) for deployment in DEPLOYMENTS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("flow", ["curate", "reprocess"])
def test_every_recipe_has_a_deployment_of_its_name(flow: str):
    deployed = {deployment["name"]: deployment["parameters"]["recipe"] for deployment in of_flow(flow)}
    assert deployed == {recipe: recipe for recipe in RECIPES}


@pytest.mark.parametrize("deployment", of_flow("curate"), ids=full_name)
def test_a_curation_has_a_nightly_schedule_to_switch_on(deployment: dict):
    (schedule,) = deployment["schedules"]
    assert schedule["active"] is False, "there are no data yet"
    CronSchedule(cron=schedule["cron"], timezone=ZoneInfo(schedule["timezone"]).key)


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=full_name)
def test_one_run_of_a_deployment_at_a_time(deployment: dict):
    assert deployment["concurrency_limit"]["limit"] == 1


@pytest.mark.parametrize("flow", ["evaluate", "label"])
def test_a_training_may_be_followed_by(flow: str):
    (follower,) = of_flow(flow)
    (specification,) = follower["triggers"]
    assert not DeploymentEventTrigger.model_validate(specification).enabled
    by = {of["prefect.resource.role"]: of["prefect.resource.name"] for of in specification["match_related"]}
    assert f"{by['flow']}/{by['deployment']}" in map(full_name, of_flow("train"))


def test_every_curation_may_start_a_training_of_its_data():
    (training,) = of_flow("train")
    triggers = {}
    for specification in training["triggers"]:
        trigger = DeploymentEventTrigger.model_validate(specification)
        assert not trigger.enabled
        assert trigger.expect == {"prefect.flow-run.Completed"}
        roles = {
            related["prefect.resource.role"]: related["prefect.resource.name"]
            for related in specification["match_related"]
        }
        assert roles["flow"] == "curate", "a reprocessing of the same name is no curation"
        assert trigger.parameters
        flow_of(training).validate_parameters({**training["parameters"], **trigger.parameters})
        triggers[roles["deployment"]] = trigger.parameters["dataset"]
    assert triggers == {recipe: load_curate_recipe(recipe).dataset for recipe in RECIPES}


@pytest.mark.parametrize("password", ["", "long-and-random"])
def test_the_object_store_has_no_default_password(tmp_path: Path, password: str):
    service = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]["object-store"]
    assert service["environment"] == {
        "MINIO_ROOT_USER": "${S3_ACCESS_KEY:-}",
        "MINIO_ROOT_PASSWORD": "${S3_SECRET_KEY:-}",
    }
    server = tmp_path / "docker-entrypoint.sh"
    server.write_text('#!/bin/sh\necho "started with $*"\n')
    server.chmod(0o755)
    command = [word.replace("$$", "$") for word in (*service["entrypoint"], *service["command"])]
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "MINIO_ROOT_USER": "us",
        "MINIO_ROOT_PASSWORD": password,
    }
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if password:
        assert done.stdout == "started with server /data --address :9000\n"
    else:
        assert (done.returncode, done.stdout) == (1, "")
        assert "S3_SECRET_KEY" in done.stderr


def test_automations_are_what_the_server_takes():
    (automation,) = yaml.safe_load((ROOT / "automations.yaml").read_text())["automations"]
    parsed = AutomationCore.model_validate(automation)
    environment = DEPLOYMENTS[0]["work_pool"]["job_variables"]["env"]
    heartbeat = int(environment["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])
    assert isinstance(parsed.trigger, EventTrigger)
    assert parsed.trigger.within.total_seconds() > 3 * heartbeat


def test_the_form_of_a_curation_says_what_its_fields_take():
    from prefect.utilities.callables import parameter_schema

    fields = parameter_schema(curate).model_dump()["properties"]
    assert fields["executor"]["enum"] == ["local", "ray"]
    assert {"type": "integer", "minimum": 1} in fields["limit"]["anyOf"]
    assert all(field["description"] for field in fields.values())


@pytest.mark.parametrize(
    ("name", "value"),
    [("limit", 0), ("executor", "cloud"), ("overrides", ["alignment"]), ("lake", ""), ("unknown", 1)],
)
def test_a_wrong_parameter_is_refused_before_anything_runs(name: str, value: object):
    with pytest.raises((ParameterTypeError, TypeError)):
        curate.validate_parameters({"recipe": "clips", "root": "raw", "lake": "lake", name: value})


def test_a_reprocessing_may_begin_at_every_stage():
    given = reprocess.parameters.properties["from_stage"]["enum"]
    assert [stage_named(section) for section in given] == list(STAGES)
