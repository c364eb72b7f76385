"""CALVIN's own data where they are, and a made-up scene everywhere."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pybullet", reason="PyBullet is absent: pip install 'harp-vla[calvin]'")

from simulation.calvin.environment import CalvinEnvironment
from tests.simulation.calvin import made_up

CALVIN = Path(os.environ.get("HARP_CALVIN", Path(__file__).resolve().parents[4] / "shared" / "calvin"))


@pytest.fixture(scope="session")
def calvin_data() -> Path:
    """CALVIN's files, which are not part of the repository."""
    if not (CALVIN / "conf" / "scene").is_dir():
        pytest.skip("CALVIN's data are absent: set HARP_CALVIN to a checkout of calvin_env")
    return CALVIN


@pytest.fixture(scope="session")
def made_up_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in calvin_env's layout."""
    return made_up.write(tmp_path_factory.mktemp("calvin"))


@pytest.fixture(scope="module")
def environment(made_up_data: Path) -> Iterator[CalvinEnvironment]:
    """The made-up scene."""
    environment = CalvinEnvironment(made_up_data)
    yield environment
    environment.close()
