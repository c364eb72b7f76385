"""Eight robots among others that misbehave, then SIGTERM: does anything hang, and what does it cost the eight?

    python -m benchmarks.serving.disturbance [--model tiny] [--seconds 10] [--rounds 3] [--out FILE.json]

In turns the eight are alone, and beside visitors that come twenty times a second: one sends malformed requests, one
vanishes with its request in work (connection reset), one stalls in the middle of a frame. At last the server gets
SIGTERM with eight requests in work: all must be answered, all connections closed with 1001, the exit status be 0.
"""

import argparse
import json
import socket
import struct
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from benchmarks.serving.fleet import Measured, Server, ask, observation, write_random_policy
from benchmarks.serving.latency import together
from harp.serving.messages import decode, encode

ROBOTS = 8
RESET = struct.pack("ii", 1, 0)
HALF_A_FRAME = b"\x82\xfe" + struct.pack("!H", 60_000) + bytes(8)
MALFORMED = ("text", b"\xc1", b"\xdd\xff\xff\xff\xff", encode({"image": 1}), encode({}))


class Visitors:
    """Misbehave for a twentieth of a second, and count."""

    def __init__(self, server: Server) -> None:
        self._url = f"ws://127.0.0.1:{server.port}"
        self._stalled: list[socket.socket] = []
        self.refused = self.vanished = self.stalled = 0

    def __call__(self) -> None:
        start = time.perf_counter()
        with connect(self._url, compression=None) as talker:
            talker.recv()
            for message in MALFORMED:
                talker.send(message)
                self.refused += isinstance(talker.recv(timeout=10), str)
        vanishing = connect(self._url, compression=None)
        vanishing.recv()
        vanishing.send(encode(observation(112, 0)))
        vanishing.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        vanishing.socket.shutdown(socket.SHUT_RDWR)
        vanishing.socket.close()
        self.vanished += 1
        stalling = connect(self._url, compression=None)
        stalling.socket.sendall(HALF_A_FRAME)
        self._stalled.append(stalling.socket)
        self.stalled += 1
        if len(self._stalled) > 16:
            self._stalled.pop(0).shutdown(socket.SHUT_RDWR)
        time.sleep(max(0.0, 0.05 - (time.perf_counter() - start)))

    def leave(self) -> None:
        """Close what stalls."""
        for stalled in self._stalled:
            stalled.shutdown(socket.SHUT_RDWR)
        self._stalled.clear()


@dataclass(frozen=True)
class Stopped:
    """What SIGTERM did with requests in work."""

    answered: int
    closed_with_1001: int
    exit_status: int
    seconds: float


def stop_with_requests_in_work(server: Server) -> Stopped:
    """Eight requests at once, then SIGTERM when they are in work."""
    size = server.client().get_server_metadata()["image_size"]
    sent = threading.Barrier(ROBOTS + 1)

    def robot(number: int) -> tuple[bool, bool]:
        with connect(f"ws://127.0.0.1:{server.port}", compression=None) as connection:
            connection.recv()
            sent.wait()
            connection.send(encode(observation(size, number)))
            sent.wait()
            reply = connection.recv(timeout=60)
            answered = isinstance(reply, bytes) and "actions" in decode(reply)
            try:
                connection.recv(timeout=60)
            except ConnectionClosed as closed:
                return answered, closed.rcvd is not None and closed.rcvd.code == 1001
            return answered, False

    with ThreadPoolExecutor(ROBOTS) as pool:
        running = [pool.submit(robot, number) for number in range(ROBOTS)]
        sent.wait()
        sent.wait()
        time.sleep(0.01)  # the last of them is read
        status, seconds = server.stop()
        ends = [future.result() for future in running]
    return Stopped(sum(end[0] for end in ends), sum(end[1] for end in ends), status, seconds)


def main() -> None:
    """Measure, print, and write a JSON file if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server.start(write_random_policy(arguments.model, Path(folder) / "policy"))
        visitors = Visitors(server)
        alone: list[Measured] = []
        disturbed: list[Measured] = []
        for _ in range(arguments.rounds):
            alone.append(ask(server, ROBOTS, arguments.seconds))
            disturbed.append(ask(server, ROBOTS, arguments.seconds, visitors))
            visitors.leave()
        health = httpx.get(f"http://127.0.0.1:{server.port}/healthz").status_code
        stopped = stop_with_requests_in_work(server)
    table = Table(title=f"{arguments.model}: {ROBOTS} robots")
    for column in ("", "p50 ms", "p95 ms", "max ms", "chunks/s"):
        table.add_column(column, justify="right" if column else "left")
    rows = []
    for name, parts in (("alone", alone), ("among visitors that misbehave", disturbed)):
        all_rounds = together(parts)
        values = [*(all_rounds.percentile(percent) for percent in (50, 95, 100)), all_rounds.rate]
        rows.append(
            {"robots": name, **dict(zip(("p50_ms", "p95_ms", "max_ms", "per_second"), values, strict=True))}
        )
        table.add_row(name, *(f"{value:.1f}" for value in values))
    console = Console(width=110)
    console.print(table)
    console.print(
        f"{visitors.refused} malformed requests refused, {visitors.vanished} robots vanished, {visitors.stalled} "
        f"stalled; health afterwards {health}.\nSIGTERM with {ROBOTS} requests in work: {stopped.answered} answered, "
        f"{stopped.closed_with_1001} closed with 1001, exit status {stopped.exit_status} after {stopped.seconds:.2f} s."
    )
    if arguments.out:
        counts = {"refused": visitors.refused, "vanished": visitors.vanished, "stalled": visitors.stalled}
        arguments.out.write_text(
            json.dumps(
                {"rows": rows, "visitors": counts, "health": health, "sigterm": vars(stopped)}, indent=2
            )
        )


if __name__ == "__main__":
    main()
