"""One embedded Ray for all tests of the engine: starting it takes seconds."""

from collections.abc import Iterator

import pytest

from pipelines.engine.ray_executor import RayExecutor


@pytest.fixture(scope="session")
def ray_executor() -> Iterator[RayExecutor]:
    """Two CPUs, and a GPU by declaration: Ray hands it out whether there is one or not."""
    with RayExecutor(num_cpus=2, num_gpus=1) as executor:
        yield executor
