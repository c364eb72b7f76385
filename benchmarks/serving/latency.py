"""Latency and throughput of a served policy for 1, 2, 4 and 8 robots, with batching and without, in one run.

    python -m benchmarks.serving.latency [--model tiny] [--seconds 10] [--rounds 3] [--out FILE.json]

Two servers of the same policy, `--max-batch 8` and `--max-batch 1`, run side by side and are asked in turns, so that a
busy machine slows both. Robots ask as soon as they have their answer. Latency is what a robot waits, network included. On a CPU
an inference of eight robots costs about eight of one (81 and 72 ms of CPU time a robot, `tiny`), so batching gains
little there; a GPU is where it pays.
"""

import argparse
import json
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.serving.fleet import Measured, Server, ask, write_random_policy

WAYS = {"batching": 8, "one by one": 1}


def together(parts: list[Measured]) -> Measured:
    """Rounds as one measurement."""
    return Measured(
        [latency for part in parts for latency in part.latencies],
        sum(part.seconds for part in parts),
        [size for part in parts for size in part.batch_sizes],
    )


def main() -> None:
    """Measure, print, and write a JSON file if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--robots", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, default=10, help="of every measurement of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        policy = write_random_policy(arguments.model, Path(folder) / "policy")
        servers = {way: Server.start(policy, "--max-batch", str(size)) for way, size in WAYS.items()}
        measured: dict[tuple[int, str], list[Measured]] = {}
        for _ in range(arguments.rounds):
            for robots in arguments.robots:
                for way, server in servers.items():
                    part = ask(server, robots, arguments.seconds)
                    measured.setdefault((robots, way), []).append(part)
        for server in servers.values():
            server.stop()
    table = Table(title=f"{arguments.model}: chunks of 10 × 7 actions from two images")
    for column in ("robots", "way", "p50 ms", "p95 ms", "chunks/s", "mean batch"):
        table.add_column(column, justify="left" if column == "way" else "right")
    rows = []
    for (robots, way), parts in measured.items():
        all_rounds = together(parts)
        row = {
            "robots": robots,
            "way": way,
            "p50_ms": all_rounds.percentile(50),
            "p95_ms": all_rounds.percentile(95),
            "chunks_per_second": all_rounds.rate,
            "mean_batch": sum(all_rounds.batch_sizes) / len(all_rounds.batch_sizes),
        }
        rows.append(row)
        table.add_row(str(robots), way, *(f"{value:.1f}" for value in list(row.values())[2:]))
    Console(width=100).print(table)
    if arguments.out:
        arguments.out.write_text(json.dumps({"model": arguments.model, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
