"""The items of many parts as one sequence, made when asked for: steps of episodes, transitions of clips."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Generic, TypeVar, overload

Item = TypeVar("Item")


class Flattened(Sequence[Item], Generic[Item]):
    """Items of part 0, then of part 1, …

    Args:
        lengths: items of each part.
        make: an item from its part and its place there.
    """

    def __init__(self, lengths: Sequence[int], make: Callable[[int, int], Item]) -> None:
        self._ends = list(accumulate(lengths, initial=0))
        self._make = make

    def __len__(self) -> int:
        return self._ends[-1]

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        part = bisect_right(self._ends, index) - 1
        return self._make(part, index - self._ends[part])
