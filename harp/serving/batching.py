"""One model for many robots: requests that come together are answered together, by one thread.

The first request of a batch waits until the batch is full, until every connected robot has asked (a lone robot never
waits), or `wait_seconds` at most, whichever comes first. Requests that come during an inference form the next batch.
The queue is bounded: one more is refused as `Busy` at once, as an action that comes too late is no use to a robot. A
request whose robot has gone is dropped before it costs an inference. A batch that fails is answered robot by robot,
so that only the robot whose request failed hears of it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from data_schemas.errors import BadInput
from harp.policy.predict import Request

logger = logging.getLogger(__name__)


class Busy(Exception):
    """The queue is full."""


@dataclass(frozen=True)
class Answer:
    """A chunk for one robot and what it took."""

    actions: NDArray[np.float32]
    """(K, A) in the robot's units."""
    batch_size: int
    wait_seconds: float
    """From asking to the start of the inference."""
    infer_seconds: float
    """Of the whole batch."""


@dataclass(frozen=True)
class _Job:
    request: Request
    answer: "asyncio.Future[Answer]"
    asked: float


class Batcher:
    """Gathers requests and runs the policy on them. Belongs to one event loop.

    Args:
        infer: chunks (B, K, A) of B requests; always called from the same thread.
        max_batch: robots per inference.
        wait_seconds: how long a request may wait for others.
        max_waiting: requests that may wait for the inference before theirs.
        robots: how many robots may ask at present.
    """

    def __init__(
        self,
        infer: Callable[[Sequence[Request]], NDArray[np.float32]],
        max_batch: int,
        wait_seconds: float,
        max_waiting: int,
        robots: Callable[[], int],
    ) -> None:
        self.failing = False
        """The last inference failed, and not by what a robot sent."""
        self._infer = infer
        self._max_batch = max_batch
        self._wait_seconds = wait_seconds
        self._robots = robots
        self._queue: asyncio.Queue[_Job] = asyncio.Queue(max_waiting)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="policy")

    def submit(self, request: Request) -> "asyncio.Future[Answer]":
        """Queue a request. Cancel what is returned if nobody waits for it any more.

        Raises:
            Busy: the queue is full.
        """
        job = _Job(request, asyncio.get_running_loop().create_future(), time.perf_counter())
        try:
            self._queue.put_nowait(job)
        except asyncio.QueueFull:
            raise Busy(
                f"busy: {self._queue.qsize()} requests wait already, which is the limit; ask again later."
            ) from None
        return job.answer

    async def run(self) -> NoReturn:
        """Answer requests until cancelled."""
        while True:
            jobs = await self._gather()
            if jobs:
                await self._answer(jobs)

    async def _gather(self) -> list[_Job]:
        jobs = [await self._queue.get()]
        try:
            async with asyncio.timeout(self._wait_seconds):
                while len(jobs) < min(self._max_batch, self._robots()):
                    jobs.append(await self._queue.get())
        except TimeoutError:
            pass
        return [job for job in jobs if not job.answer.done()]

    async def _answer(self, jobs: Sequence[_Job]) -> None:
        start = time.perf_counter()
        loop = asyncio.get_running_loop()
        try:
            chunks = await loop.run_in_executor(self._thread, self._infer, [job.request for job in jobs])
        except Exception as error:
            self.failing = not isinstance(error, BadInput)
            if len(jobs) > 1:
                logger.warning("A batch of %d failed (%s); its robots are answered singly.", len(jobs), error)
                for job in jobs:
                    if not job.answer.done():
                        await self._answer([job])
            elif not jobs[0].answer.done():
                jobs[0].answer.set_exception(error)
            return
        self.failing = False
        seconds = time.perf_counter() - start
        for job, chunk in zip(jobs, chunks, strict=True):
            if job.answer.done():
                continue
            if np.isfinite(chunk).all():
                job.answer.set_result(Answer(chunk, len(jobs), start - job.asked, seconds))
            else:
                job.answer.set_exception(
                    BadInput("bad_actions", "the policy predicted actions that are not finite; send none.")
                )
