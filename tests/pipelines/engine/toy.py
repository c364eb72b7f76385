"""Small stages with known answers."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa

from data_schemas.errors import BadInput, UserError
from data_schemas.row import Array, Row
from pipelines.engine.stage import Done, Filtered, Item, Outcome, Stage, StageConfig


@dataclass(frozen=True)
class Power(Row):
    """`value ** exponent`, and all lower powers as an array."""

    TABLE: ClassVar[str] = "powers"

    value: int
    power: int
    note: str | None
    tags: list[str]
    numbers: list[float]
    lower: Annotated[np.ndarray, Array(pa.float32(), 2)]


class PowerConfig(StageConfig):
    exponent: int = 2
    fail_every: int = 0
    raise_every: int = 0
    filter_every: int = 0
    die_on: tuple[int, ...] = ()
    die_once_in: str = ""
    seconds: float = 0.0
    bad_setup: bool = False


class PowerStage(Stage[int, PowerConfig]):
    name = "power"
    version = 1
    row = Power

    def __init__(self, config: PowerConfig, batch_size: int = 1) -> None:
        super().__init__(config)
        self.batch_size = batch_size
        self.ready = False

    def setup(self) -> None:
        if self.config.bad_setup:
            raise UserError("no weights here")
        self.ready = True

    def process(self, batch: Sequence[int]) -> list[Outcome]:
        assert self.ready
        time.sleep(self.config.seconds * len(batch))
        return [self._one(value) for value in batch]

    def _one(self, value: int) -> Outcome:
        c = self.config
        if value in c.die_on:
            if not c.die_once_in:
                os._exit(1)
            marker = os.path.join(c.die_once_in, str(value))
            if not os.path.exists(marker):
                open(marker, "w").close()
                os._exit(1)
        if c.fail_every and value % c.fail_every == 0:
            raise BadInput("odd_one_out", f"{value} is a multiple of {c.fail_every}")
        if c.raise_every and value % c.raise_every == 0:
            raise ValueError(f"cannot do {value}")
        if c.filter_every and value % c.filter_every == 0:
            return Filtered("too_round", f"{value}")
        return Done(power_row(value, c.exponent))


def power_row(value: int, exponent: int) -> Power:
    lower = np.array([[e, value**e] for e in range(value % 3)], dtype=np.float32).reshape(-1, 2)
    note = None if value % 2 else "even"
    return Power(value, value**exponent, note, ["a"] * (value % 2), [0.5, float(value)], lower)


def numbers(*values: int) -> list[Item[int]]:
    return [Item(f"id{value:05d}", f"number {value}", value) for value in values]


class LimitsConfig(StageConfig):
    sleep_on: tuple[int, ...] = ()
    sleep_seconds: float = 0.0
    eat_on: tuple[int, ...] = ()
    eat_gb: float = 0.0


class LimitsStage(Stage[int, LimitsConfig]):
    """Takes too long or too much memory over some items; the others' `power` is the process that did them."""

    name = "limits"
    version = 1
    row = Power

    def process(self, batch: Sequence[int]) -> list[Outcome]:
        for value in batch:
            if value in self.config.sleep_on:
                time.sleep(600)
            if value in self.config.eat_on:
                held = np.ones(int(self.config.eat_gb * 2**30) // 8)
                time.sleep(60)
                del held
            time.sleep(self.config.sleep_seconds)
        return [
            Done(Power(value, os.getpid(), None, [], [], np.zeros((0, 2), np.float32))) for value in batch
        ]
