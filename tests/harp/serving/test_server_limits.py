"""What a robot hears when the policy fails or does not keep up: a server in process, whose inference the test holds."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Sequence

import httpx
import numpy as np
import pytest
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from websockets.exceptions import ConnectionClosed

from harp.policy.predict import Predictor, Request
from harp.serving.listener import bind
from harp.serving.server import PolicyServer, ServingConfig
from tests.harp.serving.running import observation, write_tiny_policy

CONFIG = ServingConfig(max_batch=1, wait_seconds=0, max_waiting=1)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory) -> Predictor:
    return Predictor.load(write_tiny_policy(tmp_path_factory.mktemp("limits") / "policy"))


def while_serving(predictor: Predictor, robots: Callable[[int], None]) -> None:
    """Serve, let robots ask from another thread, then stop as a supervisor does."""

    async def main() -> None:
        with bind("127.0.0.1", 0) as listener:
            ready = asyncio.Event()
            serving = asyncio.create_task(PolicyServer(predictor, CONFIG).serve(listener, ready.set))
            await ready.wait()
            try:
                await asyncio.to_thread(robots, listener.getsockname()[1])
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                await serving

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_policy_that_fails_closes_with_1011_and_health_says_so(predictor, monkeypatch):
    act_batch = predictor.act_batch

    def only_pushes(requests: Sequence[Request]) -> np.ndarray:
        if requests[0].instruction != "push it":
            raise RuntimeError("out of memory at 0x7f")
        return act_batch(requests)

    def robots(port: int) -> None:
        health = f"http://127.0.0.1:{port}/healthz"
        unlucky, other = (WebsocketClientPolicy("127.0.0.1", port) for _ in range(2))
        with pytest.raises(RuntimeError, match="internal_error: RuntimeError; the server's log") as caught:
            unlucky.infer(observation() | {"prompt": "fail"})
        assert "0x7f" not in str(caught.value)
        with pytest.raises(ConnectionClosed) as closed:
            unlucky._ws.recv(timeout=10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011
        assert httpx.get(health).status_code == 503
        assert other.infer(observation() | {"prompt": "push it"})["actions"].shape == (3, 4)
        assert httpx.get(health).status_code == 200

    monkeypatch.setattr(predictor, "act_batch", only_pushes)
    while_serving(predictor, robots)


def test_one_robot_too_many_is_told_so_and_may_ask_again(predictor, monkeypatch):
    act_batch, started, may_run = predictor.act_batch, threading.Semaphore(0), threading.Event()

    def held(requests: Sequence[Request]) -> np.ndarray:
        started.release()
        assert may_run.wait(timeout=10)
        return act_batch(requests)

    def robots(port: int) -> None:
        clients = [WebsocketClientPolicy("127.0.0.1", port) for _ in range(4)]
        replies: list[object] = [None] * 3

        def ask(number: int) -> None:
            try:
                replies[number] = clients[number].infer(observation(number))["actions"].shape
            except RuntimeError as error:
                replies[number] = str(error)

        threads = [threading.Thread(target=ask, args=[number]) for number in range(3)]
        threads[0].start()
        assert started.acquire(timeout=10)
        for thread in threads[1:]:
            thread.start()
        while not any(replies):  # one of the two waits, the other is refused at once
            threads[1].join(0.02)
        refused = next(reply for reply in replies if reply)
        assert "busy: 1 requests wait already" in str(refused)
        may_run.set()
        for thread in threads:
            thread.join(10)
        assert sorted(map(str, replies))[:2] == ["(3, 4)", "(3, 4)"]
        assert clients[replies.index(refused)].infer(observation())["actions"].shape == (3, 4)

    monkeypatch.setattr(predictor, "act_batch", held)
    while_serving(predictor, robots)
