"""The batcher with an `infer` that the test holds back, so that what waits and what runs is known."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from data_schemas.errors import BadInput
from harp.policy.predict import Request
from harp.serving.batching import Answer, Batcher, Busy


class Policy:
    """Answers the number that a request's state holds, when it is let; notes the batches and the threads."""

    def __init__(self) -> None:
        self.may_run = threading.Event()
        self.may_run.set()
        self.batches: list[list[float]] = []
        self.threads: set[int] = set()

    def __call__(self, requests) -> np.ndarray:
        numbers = [float(request.state[0]) for request in requests]
        self.batches.append(numbers)
        self.threads.add(threading.get_ident())
        assert self.may_run.wait(timeout=10)
        if -1.0 in numbers:
            raise BadInput("bad_state", "minus one")
        if -2.0 in numbers:
            raise RuntimeError("broken")
        return np.array([[[number, number]] for number in numbers], np.float32)


def request(number: float) -> Request:
    return Request([], "go", [number])


def run(
    scenario: Callable[[Batcher, Policy], Awaitable[None]],
    max_batch: int = 4,
    wait: float = 5.0,
    max_waiting: int = 8,
    robots: int = 99,
) -> Policy:
    policy = Policy()

    async def main() -> None:
        batcher = Batcher(policy, max_batch, wait, max_waiting, lambda: robots)
        running = asyncio.create_task(batcher.run())
        try:
            async with asyncio.timeout(10):
                await scenario(batcher, policy)
        finally:
            policy.may_run.set()
            running.cancel()

    asyncio.run(main())
    return policy


def first(answer: Answer) -> float:
    return float(answer.actions[0, 0])


def test_requests_together_make_one_batch_and_each_gets_its_own_answer():
    async def scenario(batcher: Batcher, policy: Policy) -> None:
        answers = await asyncio.gather(*(batcher.submit(request(i)) for i in range(8)))
        assert [first(answer) for answer in answers] == list(range(8))
        assert {answer.batch_size for answer in answers} == {4}

    policy = run(scenario)
    assert policy.batches == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert len(policy.threads) == 1
    assert threading.get_ident() not in policy.threads


def test_a_batch_leaves_when_all_robots_have_asked_or_the_wait_is_over():
    async def scenario(batcher: Batcher, policy: Policy) -> None:
        assert first(await batcher.submit(request(1))) == 1

    assert run(scenario, wait=60, robots=1).batches == [[1]]
    assert run(scenario, wait=0.02).batches == [[1]]
    assert run(scenario, wait=0).batches == [[1]]


def test_one_more_than_may_wait_is_refused_at_once():
    async def scenario(batcher: Batcher, policy: Policy) -> None:
        policy.may_run.clear()
        running = batcher.submit(request(0))
        while not policy.batches:
            await asyncio.sleep(0.005)
        waiting = [batcher.submit(request(i)) for i in (1, 2)]
        with pytest.raises(Busy, match="busy: 2 requests wait already"):
            batcher.submit(request(3))
        policy.may_run.set()
        assert [first(answer) for answer in await asyncio.gather(running, *waiting)] == [0, 1, 2]

    run(scenario, max_waiting=2, wait=0)


def test_a_withdrawn_request_costs_no_inference():
    async def scenario(batcher: Batcher, policy: Policy) -> None:
        policy.may_run.clear()
        running = batcher.submit(request(0))
        while not policy.batches:
            await asyncio.sleep(0.005)
        gone, alone = batcher.submit(request(1)), batcher.submit(request(2))
        gone.cancel()
        policy.may_run.set()
        assert first(await running) == 0
        assert first(await alone) == 2

    assert run(scenario, wait=0).batches == [[0], [2]]


@pytest.mark.parametrize(("number", "error"), [(-1.0, BadInput), (-2.0, RuntimeError)])
def test_who_spoils_a_batch_fails_alone(number, error):
    async def scenario(batcher: Batcher, policy: Policy) -> None:
        answers = [batcher.submit(request(n)) for n in (1, number, 3)]
        with pytest.raises(error):
            await answers[1]
        assert first(await answers[0]) == 1
        assert first(await answers[2]) == 3
        with pytest.raises(error):
            await batcher.submit(request(number))
        assert batcher.failing == (error is RuntimeError)
        await batcher.submit(request(4))
        assert not batcher.failing

    run(scenario, robots=3, wait=0.05)


def test_a_robot_that_left_a_spoilt_batch_costs_no_inference():
    async def scenario(batcher: Batcher, policy: Policy) -> None:
        policy.may_run.clear()
        spoils, gone, stays = (batcher.submit(request(n)) for n in (-1, 1, 2))
        while not policy.batches:
            await asyncio.sleep(0.005)
        gone.cancel()
        policy.may_run.set()
        with pytest.raises(BadInput):
            await spoils
        assert first(await stays) == 2

    assert run(scenario, robots=3).batches == [[-1, 1, 2], [-1], [2]]


def test_actions_that_are_not_finite_reach_no_robot():
    async def scenario(batcher: Batcher, policy: Policy) -> None:
        answers = [batcher.submit(request(n)) for n in (1, np.nan)]
        assert first(await answers[0]) == 1
        with pytest.raises(BadInput, match="bad_actions"):
            await answers[1]

    run(scenario, robots=2)
