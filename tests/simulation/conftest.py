"""One small data set that all tests of the tabletop share."""

from pathlib import Path

import pytest

from simulation.tabletop import TabletopConfig, generate

SIZE = 96


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pairs (one of each task), one single human and one single robot demonstration."""
    out = tmp_path_factory.mktemp("tabletop")
    generate(
        TabletopConfig(out=out, pairs=4, unpaired_human=1, unpaired_robot=1, seed=3, size=SIZE, pace=0.5)
    )
    return out
