"""Batches prepared ahead by threads, at a position that is a step number.

Decoding pictures and reading mapped files release the interpreter lock, so a few threads hide them behind the step
that runs. What a batch holds is a pure function of its step, so a run may resume on another number of ranks.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Generic, Protocol, TypeVar

from data_schemas.errors import UserError


class Positioned(Protocol):
    """A batch that knows its place."""

    @property
    def step(self) -> int: ...

    @property
    def micro(self) -> int: ...


Batch = TypeVar("Batch", bound=Positioned)


def check_split(sizes: Mapping[str, int], world_size: int, accumulate: int) -> None:
    """That every micro-batch of every rank gets as many items as the others.

    Raises:
        UserError: some do not; the sizes are named by the setting of the recipe's `data` that says how many.
    """
    parts = world_size * accumulate
    for name, number in sizes.items():
        if number % parts:
            # The recipe may ask for more than the version holds, of which there are `number`.
            fitting = number - number % parts
            advice = f"set data.{name} to {fitting}" if fitting else "use fewer of these, or larger batches"
            raise UserError(
                f"A batch of {number} {name.removesuffix('_per_batch')} cannot be split evenly over "
                f"{world_size} ranks x {accumulate} micro-batches; {advice}."
            )


class StepLoader(ABC, Generic[Batch]):
    """Iterates from its position to `num_steps`.

    The global batch of a step is split evenly over the ranks, and on each rank over the micro-batches whose gradients
    are accumulated: rank r of W gives in micro-batch m of k the items `[m W + r :: W k]` of the step's draw.

    Args:
        sizes: items of the global batch, by the setting of the recipe's `data` that says how many.
        threads: batches prepared at the same time.
        rank: of this process.
        world_size: number of ranks.
        accumulate: micro-batches per step.

    Raises:
        UserError: the global batch cannot be split evenly.
    """

    def __init__(
        self,
        num_steps: int,
        sizes: Mapping[str, int],
        *,
        threads: int,
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
    ) -> None:
        self._num_steps = num_steps
        self._threads = threads
        self._rank = rank
        self._world_size = world_size
        self._accumulate = accumulate
        self._step = 0
        check_split(sizes, world_size, accumulate)

    @abstractmethod
    def load(self, step: int, micro: int = 0) -> Batch:
        """This rank's share of a step, or one micro-batch of it."""

    def share(self, micro: int) -> slice:
        """The items of a step's draw that a micro-batch of this rank holds."""
        return slice(micro * self._world_size + self._rank, None, self._world_size * self._accumulate)

    def state_dict(self) -> dict[str, int]:
        """Position: the step whose batch comes next."""
        return {"step": self._step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue at a saved position."""
        self._step = state["step"]

    def __iter__(self) -> Iterator[Batch]:
        positions = (
            (step, micro) for step in range(self._step, self._num_steps) for micro in range(self._accumulate)
        )
        pool = ThreadPoolExecutor(self._threads, "batches")
        try:
            ahead: deque[Future[Batch]] = deque(
                pool.submit(self.load, *position) for position in islice(positions, self._threads)
            )
            while ahead:
                batch = ahead.popleft().result()
                ahead.extend(pool.submit(self.load, *position) for position in islice(positions, 1))
                if batch.micro == self._accumulate - 1:
                    self._step = batch.step + 1
                yield batch
        finally:
            # Whoever stops early need not wait for batches that nobody will see.
            pool.shutdown(cancel_futures=True)
