"""Real `harp serve` processes on real sockets, driven by the `openpi-client` of the registry."""

import os
import re
import socket
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from openpi_client import msgpack_numpy
from openpi_client.action_chunk_broker import ActionChunkBroker
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from data_schemas.robot_interface import RobotInterface
from harp.policy.predict import Predictor
from harp.serving.example_client import play
from harp.serving.messages import encode
from tests.harp.evaluation.closed_loop.toy_world import ToyTrial
from tests.harp.serving.running import Running, observation, write_tiny_policy

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "serving.md"
TOKEN = "s3cret"
WAIT = 1.5
"""Seconds that the guarded server waits for a second robot: so long is a request surely in work."""
HALF_A_FRAME = b"\x82\xfe" + struct.pack("!H", 60_000) + bytes(8)
"""Announces 60,000 bytes, masked, and brings four."""


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    # Names of folders are not to be read as markup.
    return write_tiny_policy(tmp_path_factory.mktemp("serving") / "[/x]" / "policy")


@pytest.fixture(scope="module")
def servers(policy):
    """An open server, and one that is guarded, small and patient; both start at the same time."""
    started = [
        Running.start(policy.parent, "--wait-ms", "50"),  # as the folder of a run is given
        Running.start(
            policy, "--wait-ms", f"{1e3 * WAIT:g}", "--max-batch", "3", "--max-message-mb", "0.1", token=TOKEN
        ),
    ]
    try:
        yield [server.ready() for server in started]
    finally:
        for server in started:
            server.process.kill()
            server.process.wait()


@pytest.fixture
def server(servers) -> Running:
    return servers[0]


@pytest.fixture
def guarded(servers) -> Running:
    return servers[1]


def robot(server: Running, token: str | None = None) -> WebsocketClientPolicy:
    return WebsocketClientPolicy(server.host, server.port, token)


def raw(server: Running, token: str | None = None) -> ClientConnection:
    """A connection that has read the metadata."""
    headers = {"Authorization": f"Bearer {token}"} if token else None
    connection = connect(server.url, compression=None, additional_headers=headers)
    assert msgpack_numpy.unpackb(connection.recv())["server"] == "harp"
    return connection


def await_log(server: Running, text: str) -> None:
    deadline = time.monotonic() + 10
    while text not in server.log:
        assert time.monotonic() < deadline, server.log
        time.sleep(0.01)


def test_eight_robots_together_get_the_actions_of_one_by_one(server, policy):
    predictor = Predictor.load(policy)
    expected = []
    for seed in range(8):
        seen = observation(seed)
        chunk = predictor.act([seen["image"], seen["wrist_image"]], seen["prompt"], seen["state"])
        expected.append(chunk)
    robots = [robot(server) for _ in range(8)]
    metadata = robots[0].get_server_metadata()
    assert metadata["observation_keys"] == ["image", "wrist_image", "state", "prompt"]
    assert (metadata["action_horizon"], metadata["action_dim"], metadata["state_dim"]) == (3, 4, 5)

    def ask(seed: int) -> list[dict]:
        return [robots[seed].infer(observation(seed)) for _ in range(4)]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    for chunk, of_robot in zip(expected, answers, strict=True):
        for answer in of_robot:
            assert answer["actions"].dtype == np.float32
            np.testing.assert_allclose(answer["actions"], chunk, atol=1e-5)
    timings = [answer["server_timing"] for of_robot in answers for answer in of_robot]
    assert max(timing["batch_size"] for timing in timings) > 1
    assert all(timing["infer_ms"] > 0 and timing["wait_ms"] >= 0 for timing in timings)
    assert sum("prev_total_ms" in timing for timing in timings) == 8 * 3
    for client in robots:
        client._ws.close()
    alone = robot(server)
    again = [alone.infer(observation(3))["actions"] for _ in range(2)]
    assert np.array_equal(*again)
    np.testing.assert_allclose(again[0], expected[3], atol=1e-5)
    alone._ws.close()


def test_openpis_chunk_broker_plays_the_chunk(server):
    client = robot(server)
    chunk = client.infer(observation())["actions"]
    played = ActionChunkBroker(client, action_horizon=3)
    for action in chunk:
        np.testing.assert_allclose(played.infer(observation())["actions"], action, atol=1e-6)
    client._ws.close()


class Robot:
    """Robot of the documentation and environment of the example: ends after five actions, which it keeps."""

    tasks: tuple[str, ...] = ("push",)
    episode_limit = 9
    interface = RobotInterface(
        rate=10.0, actions=tuple("abcd"), action_scale=(1.0,) * 4, proprioception=tuple("abcde")
    )

    def __init__(self) -> None:
        self.actions: list[np.ndarray] = []
        seen = observation()
        self.third_view, self.wrist = seen["image"], seen["wrist_image"]
        self.proprioception, self.instruction = seen["state"], seen["prompt"]

    def trials(self, task: str, count: int = 60, seed: int = 0) -> list[ToyTrial]:
        return [ToyTrial(task, index, seed) for index in range(count)]

    def reset(self, trial: ToyTrial) -> "Robot":
        return self

    def step(self, action: np.ndarray) -> tuple["Robot", bool, bool]:
        self.actions.append(action)
        return self, len(self.actions) == 5, len(self.actions) == 5

    def close(self) -> None:
        pass


def test_the_example_plays_chunks_on_an_environment(server):
    client, environment = robot(server), Robot()
    assert play(client, environment, ToyTrial("push", 0, 0), steps=9, replan=2)
    chunk = client.infer(observation())["actions"]
    np.testing.assert_allclose(environment.actions, chunk[[0, 1, 0, 1, 0]], atol=1e-6)
    client._ws.close()


def test_the_loop_of_the_documentation_runs(server):
    (loop,) = re.findall(r"```python\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)
    body = Robot()
    documented = SimpleNamespace(
        done=lambda: len(body.actions) == 5,
        third_view=lambda: body.third_view,
        wrist_view=lambda: body.wrist,
        state=lambda: body.proprioception,
        do=body.step,
    )
    names: dict[str, Any] = {"robot": documented}
    exec(loop.replace("8000", str(server.port)), names)
    names["client"]._ws.close()
    assert np.shape(body.actions) == (5, 4)


def test_the_connection_survives_malformed_requests(server):
    client = robot(server)
    for changes, found in [
        ({"image": np.zeros((3, 28, 28), np.uint8)}, r"bad_image: image is uint8 \(3, 28, 28\), expected"),
        ({"state": np.zeros(4)}, r"bad_state: state has the shape \(4,\), expected 5"),
        ({"prompt": ""}, "bad_prompt"),
        ({"image2": np.zeros(1)}, "bad_keys: found the keys image, image2"),
    ]:
        with pytest.raises(RuntimeError, match=found):
            client.infer(observation() | changes)
    with closing(raw(server)) as connection:
        for message in ("text", b"", b"\xc1 noise", b"\x93\x01\x02\x03", b"\xdd\xff\xff\xff\xff"):
            connection.send(message)
            reply = connection.recv(timeout=10)
            assert isinstance(reply, str)
            assert reply.startswith("bad_message: found")
            assert "Traceback" not in reply
        connection.send(encode(observation()))
        assert msgpack_numpy.unpackb(connection.recv(timeout=10))["actions"].shape == (3, 4)
    assert client.infer(observation())["actions"].shape == (3, 4)
    client._ws.close()


def test_health_needs_no_token_and_robots_do(guarded):
    assert httpx.get(f"http://{guarded.host}:{guarded.port}/healthz").text == "OK\n"
    for token in (None, "wrong", TOKEN + "x"):
        with pytest.raises(InvalidStatus, match="401"):
            robot(guarded, token)
    robot(guarded, TOKEN)._ws.close()
    raw(guarded, TOKEN).close()
    assert TOKEN not in guarded.log


def test_a_web_page_may_not_ask(server):
    with pytest.raises(InvalidStatus, match="403"):
        connect(server.url, origin=Origin("https://example.org"))


def test_a_message_over_the_limit_closes_with_its_code(guarded):
    with closing(raw(guarded, TOKEN)) as connection:
        connection.send(bytes(110_000))
        with pytest.raises(ConnectionClosed) as caught:
            connection.recv(timeout=10)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009
    assert httpx.get(f"http://{guarded.host}:{guarded.port}/healthz").text == "OK\n"


def test_robots_that_vanish_or_stall_hold_up_nobody(server, guarded):
    silent = raw(guarded, TOKEN)  # keeps the request of the next one in work
    vanishing = raw(guarded, TOKEN)
    host, port = vanishing.local_address[:2]
    vanishing.send(encode(observation()))
    time.sleep(0.3)
    vanishing.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    vanishing.socket.shutdown(socket.SHUT_RDWR)
    vanishing.socket.close()
    await_log(guarded, f"{host}:{port} left after 0 answers")
    silent.send(encode(observation()))
    answer = msgpack_numpy.unpackb(silent.recv(timeout=10))
    assert answer["server_timing"]["batch_size"] == 1  # the request that nobody waits for was not answered
    silent.close()

    stalling = raw(server)
    stalling.socket.sendall(HALF_A_FRAME)
    with closing(socket.create_connection((server.host, server.port))):  # a visitor that says nothing
        client = robot(server)
        start = time.perf_counter()
        for seed in range(5):
            client.infer(observation(seed))
        assert time.perf_counter() - start < 5
        client._ws.close()
    stalling.socket.shutdown(socket.SHUT_RDWR)


def test_sigterm_answers_what_is_in_work_then_closes_and_exits_0(guarded):
    idle, asking = raw(guarded, TOKEN), raw(guarded, TOKEN)
    half = raw(guarded, TOKEN)
    half.socket.sendall(HALF_A_FRAME)
    asking.send(encode(observation()))
    time.sleep(0.3)
    guarded.process.terminate()
    with pytest.raises(ConnectionClosed) as caught:
        idle.recv(timeout=1)
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1001, "the server stops")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((guarded.host, guarded.port), timeout=1)
    assert msgpack_numpy.unpackb(asking.recv(timeout=10))["actions"].shape == (3, 4)
    with pytest.raises(ConnectionClosed) as caught:
        asking.recv(timeout=10)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1001
    assert guarded.process.wait(timeout=15) == 0
    assert "Traceback" not in guarded.log


def test_a_taken_port_is_one_sentence(server, policy):
    command = [sys.executable, "-m", "harp", "serve", str(policy), "--port", str(server.port)]
    environment = {**os.environ, "COLUMNS": "200"}
    result = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False, timeout=120
    )
    assert result.returncode == 2, result.stderr
    assert f"Cannot listen on 127.0.0.1:{server.port}" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_the_open_server_ends_on_sigterm_with_nobody_there(server):
    assert server.stop() == 0
    assert "Traceback" not in server.log
