"""A Ray cluster that is not there is said at once, by curation and training alike."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from harp.ray_address import RayUnavailable, check_ray_address
from harp.training.ray_workers import OnRay


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """Bound to a port of this machine, not yet listening."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        yield server


def test_a_cluster_that_does_not_answer_is_said_at_once(server: socket.socket) -> None:
    address = f"127.0.0.1:{server.getsockname()[1]}"
    for name in (address, f"ray://{address}"):
        with pytest.raises(RayUnavailable, match=f"No Ray cluster answers at {name}"):
            check_ray_address(name)
    server.listen()
    check_ray_address(address)
    check_ray_address("auto")


def test_so_it_is_by_training_on_many_workers(
    server: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    for launch in (OnRay(2, tmp_path), OnRay(2, tmp_path, f"ray://{address}")):
        with pytest.raises(RayUnavailable, match="No Ray cluster answers at"):
            launch(lambda device: None)
