"""A small data set, and what comes of it when nothing happens."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulation.tabletop import TabletopConfig, generate
from tests.faults.lakes import fingerprint

PAIRS = 3
HARP = Path(sys.executable).with_name("harp")


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three simulated pairs; set HARP_FAULT_RAW to use other raw data of the recipe `tabletop`."""
    if given := os.environ.get("HARP_FAULT_RAW"):
        return Path(given)
    folder = tmp_path_factory.mktemp("raw")
    generate(TabletopConfig(out=folder, pairs=PAIRS, seed=0))
    return folder


def curation(raw: Path, lake: Path, executor: str = "ray") -> list[str]:
    """The command that curates."""
    return [
        str(HARP), "curate", "tabletop", "--root", str(raw), "--lake", str(lake), "--executor", executor,
    ]  # fmt: skip


def wait_until_begun(process: subprocess.Popen, lake: Path) -> None:
    """Until the run has found its clips, as loading the libraries is nothing that a kill could disturb."""
    while not (lake / "runs").exists():
        assert process.poll() is None, "the run ended before it began"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def undisturbed(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], float]:
    """Fingerprint of a run in one process that nothing disturbed, and its seconds from the first clip on."""
    lake = tmp_path_factory.mktemp("undisturbed") / "lake"
    process = subprocess.Popen(curation(raw, lake, "local"), stdout=subprocess.DEVNULL)
    wait_until_begun(process, lake)
    start = time.monotonic()
    assert process.wait(1800) == 0
    return fingerprint(lake), time.monotonic() - start
