"""What came of CALVIN: how many tasks of each chain, in the files that the benchmark's own scripts write."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.box import SIMPLE
from rich.table import Table

from harp.evaluation.intervals import Estimate, bootstrap_mean

CHAIN_LENGTH = 5
CHAINS, RESULT, RATES, TABLE = "chains.jsonl", "result.json", "success_rate.txt", "evaluation.md"


@dataclass(frozen=True)
class ChainResult:
    """One chain.

    number: in the benchmark's list; subtasks: of the chain; steps: control steps of each task that was begun; solved:
    tasks done before the first that was not; looks: how often the policy was asked; seconds: wall clock.
    """

    number: int
    subtasks: tuple[str, ...]
    steps: tuple[int, ...]
    solved: int
    looks: int
    seconds: float

    @property
    def key(self) -> int:
        """Of the chain."""
        return self.number


@dataclass(frozen=True)
class CalvinResult:
    """All chains of one policy, in the benchmark's order."""

    chains: tuple[ChainResult, ...]

    @property
    def average_length(self) -> Estimate:
        """Tasks done in a row, of five, with the 95 % interval over chains."""
        return bootstrap_mean(np.array([chain.solved for chain in self.chains], dtype=float))

    def chain_rates(self) -> dict[int, float]:
        """Share of chains in which at least 1, 2, … 5 tasks were done."""
        return {
            length: sum(chain.solved >= length for chain in self.chains) / len(self.chains)
            for length in range(1, CHAIN_LENGTH + 1)
        }

    def task_rates(self) -> dict[str, tuple[int, int]]:
        """Task → (times done, times begun); the task at which a chain ends counts as begun."""
        begun, done = Counter(), Counter()
        for chain in self.chains:
            done.update(chain.subtasks[: chain.solved])
            begun.update(chain.subtasks[: chain.solved + 1])
        return {task: (done[task], begun[task]) for task in begun}

    def write(self, folder: Path) -> None:
        """Write `result.json`, with the names and the rounding of the authors' script, and a page to read."""
        content = {
            "avg_seq_len": float(np.mean([chain.solved for chain in self.chains])),
            "chain_sr": self.chain_rates(),
            "task_info": {
                task: {"success": done, "total": begun} for task, (done, begun) in self.task_rates().items()
            },
        }
        (folder / RESULT).write_text(json.dumps(content))
        (folder / RATES).write_text(self.running_rates())
        (folder / TABLE).write_text(self.markdown())

    def running_rates(self) -> str:
        """One line a chain: the rates over it and those before."""
        lines, solved = [], []
        for number, chain in enumerate(self.chains, 1):
            solved.append(chain.solved)
            rates = [np.mean([s >= n for s in solved]) * 100 for n in range(1, CHAIN_LENGTH + 1)]
            shown = " ".join(f"{n}/5 : {rate:.1f}% |" for n, rate in enumerate(rates, 1))
            lines.append(f"{number}/{len(self.chains)} : {shown} average {np.mean(solved):.3f}\n")
        return "".join(lines)

    def rows(self) -> list[tuple[str, str]]:
        """What is told first, as texts."""
        rates = [(f"at least {n} in a row", f"{rate:.1%}") for n, rate in self.chain_rates().items()]
        return [("average length", self.average_length.text(3)), *rates]

    def table(self) -> Table:
        """For a terminal."""
        table = Table(title=f"CALVIN, {len(self.chains)} chains", box=SIMPLE, pad_edge=False)
        table.add_column("")
        table.add_column("95 % interval in brackets", justify="right")
        for name, value in self.rows():
            table.add_row(name, value)
        return table

    def markdown(self) -> str:
        """Both tables."""
        tasks = sorted(self.task_rates().items())
        return "\n".join(
            [
                f"{len(self.chains)} chains; brackets: bootstrap 95 % interval over chains.",
                "",
                "| | |",
                "|---|---|",
                *(f"| {name} | {value} |" for name, value in self.rows()),
                "",
                "| task | done | begun | % |",
                "|---|---|---|---|",
                *(f"| {task} | {done} | {begun} | {done / begun:.1%} |" for task, (done, begun) in tasks),
                "",
            ]
        )
