"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# As many workers as cores run tests: threads of OpenMP, which wait by spinning, would take the cores from each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("LP_NUM_THREADS", "1")  # Mesa's renderer, likewise
os.environ.setdefault("COLUMNS", "200")  # tables whose cells a test reads must not be cut

SAMPLES = Path(os.environ.get("HARP_SAMPLES", Path(__file__).resolve().parents[2] / "shared" / "samples"))


@pytest.fixture(scope="session")
def samples() -> Path:
    """Folder of real clips that are not part of the repository; set HARP_SAMPLES to use one elsewhere."""
    if not SAMPLES.is_dir():
        pytest.skip("real sample clips are absent: set HARP_SAMPLES to their folder")
    return SAMPLES
