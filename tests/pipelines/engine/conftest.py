"""One embedded Ray for all tests of the engine: starting it takes seconds."""

from collections.abc import Iterator

import pytest

from pipelines.engine.ray_executor import RayExecutor


@pytest.fixture(scope="session")
def ray_executor() -> Iterator[RayExecutor]:
    with RayExecutor(num_cpus=2) as executor:
        yield executor
