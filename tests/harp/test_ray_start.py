"""A Ray that starts on this machine serves its dashboard where HARP_RAY_DASHBOARD asks for it."""

import os
import re
import subprocess
import sys

import pytest

RUN = """
import logging, urllib.request
logging.basicConfig(level=logging.INFO)
from pipelines.engine.ray_executor import RayExecutor
from tests.pipelines.engine.toy import PowerConfig, PowerStage, numbers
import ray
with RayExecutor(num_cpus=1) as executor:
    list(executor.run(PowerStage(PowerConfig()), numbers(1)))
    url = "http://" + ray.worker._global_node.webui_url
    page = urllib.request.urlopen(url, timeout=60)
    print(page.status, url, "Ray Dashboard" in page.read().decode())
"""


@pytest.mark.slow
def test_its_page_answers_where_the_log_says() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        env=environment | {"HARP_RAY_DASHBOARD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (told,) = re.findall(r"Ray's dashboard is at (http://127\.0\.0\.1:\d+)", done.stderr)
    assert done.stdout.split() == ["200", told, "True"]
