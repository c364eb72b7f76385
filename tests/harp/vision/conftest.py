"""Small published versions and models, made on the spot."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harp.latent_action.config import LatentActionConfig
from harp.training.config import Stage1Config
from tests.harp.tiny_version import write_version


@pytest.fixture
def make_version(tmp_path: Path) -> Callable[..., Path]:
    """Writes a version into the test's folder; see `write_version` for its arguments."""
    return lambda **arguments: write_version(tmp_path / "lake", **arguments)
