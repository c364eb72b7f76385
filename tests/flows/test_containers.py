"""What docker/compose.yaml starts, as processes on loopback: Postgres, Prefect with a password, a Ray cluster with a token."""

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from pipelines.engine.lake import Lake
from pipelines.shards.publish import list_versions
from simulation.tabletop import TabletopConfig, generate
from tests.flows.api import until
from tests.flows.containers import Containers
from tests.flows.service import named

SECRETS = {
    "POSTGRES_PASSWORD": secrets.token_hex(16),
    "RAY_AUTH_TOKEN": secrets.token_hex(16),
    "PREFECT_AUTH_STRING": f"team:{secrets.token_hex(16)}",
    "S3_ACCESS_KEY": secrets.token_hex(8),
    "S3_SECRET_KEY": secrets.token_hex(16),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (shutil.which("postgres") or list(Path("/usr/lib").glob("postgresql/*"))), reason="no Postgres"),
]  # fmt: skip


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    """All services but the object store, in the order of their dependencies."""
    folder = tmp_path_factory.mktemp("containers")
    generate(TabletopConfig(out=folder / "data" / "tabletop", pairs=3, seed=0))
    containers = Containers(folder, SECRETS)
    try:
        containers.start_postgres()
        containers.start("prefect-server")
        containers.wait_until_healthy("prefect-server")
        for node in ("ray-head", "ray-worker"):
            containers.start_node(node)
        deploy = containers.start("deploy")
        assert deploy.wait(600) == 0, containers.log("deploy")
        containers.start("worker")
        containers.wait_until_healthy("worker")
        yield containers
    finally:
        containers.stop()


def actors(containers: Containers) -> list[psutil.Process]:
    """Workers that hold a stage, on the node that runs items."""
    return named("ray::Worker", containers.process("ray-worker").children(recursive=True))


def test_the_server_is_on_postgres_and_asks_for_the_password(containers: Containers):
    assert httpx.get(f"{containers.url}/deployments/name/curate/tabletop").status_code == 401
    assert containers.deployment("curate/tabletop")["name"] == "tabletop"
    port = containers.port("4200")
    assert httpx.get(f"http://127.0.0.1:{port}/ui-settings", auth=("team", SECRETS["PREFECT_AUTH_STRING"].split(":")[1])).json()["api_url"] == "/api"  # fmt: skip
    assert not (containers.folder / "home" / "prefect-server" / "prefect.db").exists()


def test_ray_asks_for_the_token(containers: Containers):
    check = ["ray", "health-check", "--address", f"127.0.0.1:{containers.port('6379')}"]
    assert containers.command("worker", *check).returncode == 0
    assert containers.command("worker", "env", "RAY_AUTH_TOKEN=0123", *check).returncode != 0
    dashboard = f"http://127.0.0.1:{containers.port('8265')}/api/jobs/"
    assert httpx.get(dashboard).status_code == 401
    assert httpx.get(dashboard, headers={"Authorization": f"Bearer {SECRETS['RAY_AUTH_TOKEN']}"}).is_success


def test_a_curation_runs_on_the_cluster_and_starts_one_training(containers: Containers):
    resumed = containers.command("worker", "prefect", "automation", "resume", "train on tabletop")
    assert resumed.returncode == 0, resumed.stderr
    run = containers.run("curate/tabletop")
    until(lambda: actors(containers), "items run on the node for items")
    containers.wait(run, "COMPLETED")
    assert len(list_versions(Lake(containers.folder / "lake"))) == 1
    (training,) = until(lambda: containers.runs("train/stage1"), "the trigger fires", 120)
    containers.command("worker", "prefect", "automation", "pause", "train on tabletop")
    containers.cancel(training["id"])
    assert len(containers.runs("train/stage1")) == 1


def test_a_cancelled_run_leaves_the_cluster_free(containers: Containers):
    run = containers.run("curate/tabletop", lake="second")
    working = until(lambda: actors(containers), "items run on the node for items")
    containers.cancel(run)
    until(lambda: not any(process.is_running() for process in working), "the actors end", 60)
    assert all(containers.healthy(name) for name in ("ray-head", "ray-worker", "worker"))
    containers.wait(containers.run("curate/tabletop", lake="second"), "COMPLETED")
    (version,) = list_versions(Lake(containers.folder / "second"))
    (reference,) = list_versions(Lake(containers.folder / "lake"))
    assert version.version_id == reference.version_id


def test_raw_data_and_lake_may_be_in_the_object_store(containers: Containers):
    containers.start_object_store()
    program = (
        "import s3fs; store = s3fs.S3FileSystem(); store.mkdir('lake'); store.mkdir('raw'); "
        "store.put('data/tabletop/', 'raw/', recursive=True)"
    )
    made = containers.command("worker", "python", "-c", program)
    assert made.returncode == 0, made.stderr
    containers.wait(containers.run("curate/tabletop", root="s3://raw", lake="s3://lake"), "COMPLETED")
    program = "import s3fs; print(*s3fs.S3FileSystem().ls('lake/versions'))"
    listed = containers.command("worker", "python", "-c", program).stdout
    (reference,) = list_versions(Lake(containers.folder / "lake"))
    assert f"lake/versions/{reference.version_id}" in listed.split()


def test_no_log_holds_a_secret(containers: Containers):
    run = containers.runs("curate/tabletop")[0]["id"]
    texts = [containers.logs(run), *(path.read_text() for path in containers.folder.glob("*.log"))]
    values = [value.split(":")[-1] for value in SECRETS.values()]
    assert not [value for value in values if any(value in text for text in texts)]
