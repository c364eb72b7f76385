"""What a stage is to do: items by id, whose payloads are read when their turn comes.

A data set of 200,000 demonstrations has gigabytes of rows, and a run that finds nothing to do needs their ids
only. Payloads are therefore loaded a chunk at a time, for items that are left to do and in the order of their ids, so
that a lake whose files are sorted by id reads each of them about once.
"""

import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from pipelines.engine.stage import Item

Payload = TypeVar("Payload")
T = TypeVar("T")

CHUNK = 2048
"""Demonstrations or pairs whose payloads are in the driver's memory at a time. A demonstration of 300 frames with 8
keypoints takes about 81 kB, so a chunk of pairs 330 MB."""


class Labels(Mapping[str, str], Generic[T]):
    """Item id -> label for people, made when asked for: few of the items are ever named."""

    def __init__(self, items: Mapping[str, T], label: Callable[[T], str]) -> None:
        self._items, self._label = items, label

    def __getitem__(self, item_id: str) -> str:
        return self._label(self._items[item_id])

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


@dataclass(frozen=True)
class Work(Generic[Payload]):
    """All items of one stage, done or not."""

    labels: Mapping[str, str]
    """Item id -> label for people."""
    load: Callable[[Sequence[str]], Mapping[str, Payload]]
    """Payloads of the given items."""
    chunk: int = CHUNK
    """Items loaded at a time; fewer where an item is made of many."""

    @classmethod
    def of(cls, items: Sequence[Item[Payload]]) -> Self:
        """Items whose payloads are at hand; of an id that comes twice the first counts."""
        first = {item.item_id: item for item in reversed(items)}
        labels = {item.item_id: item.label for item in items}
        return cls({i: first[i].label for i in labels}, lambda ids: {i: first[i].payload for i in ids})


class Todo(Generic[Payload]):
    """The items that are left, handed out one by one.

    Args:
        done: items that have their row by now; those that another run finishes meanwhile are passed over.
    """

    def __init__(self, work: Work[Payload], ids: Sequence[str], done: Set[str]) -> None:
        self._work, self._done = work, done
        self._ids = list(ids)
        self._loaded: deque[Item[Payload]] = deque()
        self._total = len(ids)
        self._given = 0
        self._shared = False

    def __len__(self) -> int:
        """Items given out so far and those still to come."""
        return self._total

    def __iter__(self) -> Iterator[Item[Payload]]:
        while self._ids or self._loaded:
            if not self._loaded:
                self._load()
            elif (item := self._loaded.popleft()).item_id in self._done:
                self._total -= 1
            else:
                self._given += 1
                yield item

    @property
    def remaining(self) -> int:
        """Items not given out yet."""
        return self._total - self._given

    def share(self) -> None:
        """Another run does the same work: take the rest in random order, so that the two meet seldom."""
        if not self._shared:
            self._shared = True
            random.shuffle(self._ids)
            random.shuffle(self._loaded)

    def _load(self) -> None:
        size = self._work.chunk
        chunk, self._ids = self._ids[:size], self._ids[size:]
        left = [i for i in chunk if i not in self._done]
        self._total -= len(chunk) - len(left)
        payloads = self._work.load(left) if left else {}
        self._loaded.extend(Item(i, self._work.labels[i], payloads[i]) for i in left)
