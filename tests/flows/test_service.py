"""The service as a data team runs it: a real Prefect server, a real process worker, the repository's deployments."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.engine.lake import Lake
from pipelines.shards.publish import list_versions
from simulation.tabletop import TabletopConfig, generate
from tests.flows.api import until
from tests.flows.service import Service, ray_workers

PAIRS = 3

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """With a worker; docker's script does the deploying, twice, as at a second start of the containers."""
    folder = tmp_path_factory.mktemp("service")
    generate(TabletopConfig(out=folder / "data" / "tabletop", pairs=PAIRS, seed=0))
    service = Service(folder)
    try:
        service.script("deploy.sh")
        service.script("deploy.sh")
        service.start_worker()
        yield service
    finally:
        service.stop()


@pytest.fixture(scope="module")
def curated(service: Service) -> str:
    """The first curation, started by the command of the README and watched to its end."""
    service.prefect("automation", "resume", "train on tabletop")
    result = service.prefect("deployment", "run", "curate/tabletop", "--watch")
    assert "Completed" in result.stdout
    (run,) = service.runs("curate/tabletop")
    return run["id"]


def test_the_server_refuses_a_wrong_parameter(service: Service):
    refused = service.try_prefect("deployment", "run", "curate/tabletop", "--param", "limit=0")
    assert refused.returncode == 1
    assert "'limit'" in refused.stdout
    assert "less than the minimum of 1" in " ".join(refused.stdout.split())
    assert not service.runs("curate/rh20t")


def test_a_curation_publishes_and_shows_what_it_did(service: Service, curated: str):
    (version,) = list_versions(Lake(service.folder / "lake"))
    artifacts = service.artifacts(curated)
    for stage in ("ingest", "wrist-tracks", "object-tracks", "alignments", "verdicts", "shards"):
        assert artifacts[f"tabletop-{stage}"]["type"] == "progress"
        assert artifacts[f"tabletop-{stage}"]["data"] == 100
    assert version.version_id in artifacts["tabletop-counts"]["description"]
    assert '"items": 6' in artifacts["tabletop-counts"]["data"]
    page = artifacts["tabletop-digest"]["data"]
    assert version.version_id in page
    assert "](data:image/jpeg;base64," in page
    assert "ingest: 6 of 6 items" in service.logs(curated)


def test_a_completed_curation_starts_a_training_of_its_data(service: Service, curated: str):
    until(lambda: service.runs("train/stage1"), "the trigger fires", 120)
    service.prefect("automation", "pause", "train on tabletop")
    trainings = service.runs("train/stage1")
    assert {training["parameters"]["dataset"] for training in trainings} == {"tabletop"}
    for training in trainings:
        service.cancel(training["id"])


def test_a_second_run_of_a_data_set_is_cancelled_and_the_first_ends_with_its_ray(
    service: Service, curated: str
):
    first = service.run("curate/tabletop", lake="second")
    until(lambda: ray_workers(service.flow_processes()), "Ray works for the run")
    refused = service.wait(service.run("curate/tabletop", lake="third"), "CANCELLED")
    assert refused["message"] == "Deployment concurrency limit reached."

    rays = ray_workers(service.flow_processes())
    service.cancel(first)
    until(lambda: not any(process.is_running() for process in rays), "Ray's processes end", 60)

    # The place is free again, and the lake is as good as new.
    again = service.run("curate/tabletop", lake="second", executor="local")
    service.wait(again, "COMPLETED")
    (version,) = list_versions(Lake(service.folder / "second"))
    (reference,) = list_versions(Lake(service.folder / "lake"))
    assert version.version_id == reference.version_id


def test_reprocessing_is_a_deployment_too(service: Service, curated: str):
    change = "alignment.warp.time_weight=0.3"
    run = service.run("reprocess/tabletop", from_stage="alignment", overrides=[change], executor="local")
    service.wait(run, "COMPLETED")
    assert (
        '"stage": "alignments", "items": 3, "already done": 0'
        in service.artifacts(run)["tabletop-counts"]["data"]
    )


def test_a_schedule_starts_runs(service: Service, curated: str):
    nightly = service.deployment("curate/tabletop")["schedules"][0]
    assert (nightly["active"], nightly["schedule"]["timezone"]) == (False, "Europe/Berlin")
    before = {run["id"] for run in service.runs("curate/tabletop")}
    service.prefect(
        "deployment", "schedule", "create", "curate/tabletop", "--cron", "* * * * *", "--timezone", "Europe/Berlin"
    )  # fmt: skip
    service.prefect("deployment", "schedule", "ls", "curate/tabletop")

    def started() -> list[str]:
        return [
            run["id"]
            for run in service.runs("curate/tabletop")
            if run["id"] not in before
            and run["auto_scheduled"]
            and run["state"]["type"] in ("PENDING", "RUNNING", "COMPLETED")
        ]

    run = until(started, "a scheduled run starts", 240)[0]
    service.prefect("deployment", "schedule", "clear", "curate/tabletop", "--accept-yes")
    service.wait(run, "COMPLETED")


def test_a_run_whose_machine_died_is_marked_and_continued(service: Service, curated: str):
    run = service.run("curate/tabletop", lake="fourth")
    until(lambda: ray_workers(service.flow_processes()), "Ray works for the run")
    until(lambda: Path(service.folder / "fourth").exists(), "the lake exists")
    service.kill_worker()
    state = service.wait(run, "CRASHED")
    assert "No sign of life" in state["message"]
    service.start_worker()
    service.wait(service.run("curate/tabletop", lake="fourth", executor="local"), "COMPLETED")
