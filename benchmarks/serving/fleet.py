"""A `harp serve` process of a random policy, and robots that ask it as fast as it answers."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from openpi_client.websocket_client_policy import WebsocketClientPolicy

from benchmarks.policy.latency import random_policy
from harp.policy.checkpoints import write_policy
from harp.policy.normalization import Normalization, Statistics
from harp.policy.tokenizer import load_tokenizer


@dataclass
class Server:
    """A running server."""

    process: subprocess.Popen[str]
    port: int

    @staticmethod
    def start(policy: Path, *arguments: str) -> "Server":
        """Start and wait until robots can connect."""
        command = [sys.executable, "-m", "harp", "serve", str(policy), "--port", "0", *arguments]
        environment = {**os.environ, "COLUMNS": "200"}
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        assert process.stdout is not None
        log = ""
        for line in process.stdout:
            log += line
            if found := re.search(r"ws://[\d.]+:(\d+)", line):
                threading.Thread(
                    target=process.stdout.read, daemon=True
                ).start()  # its log would fill the pipe
                return Server(process, int(found[1]))
        raise SystemExit(f"harp serve ended with {process.wait()}:\n{log}")

    def client(self) -> WebsocketClientPolicy:
        return WebsocketClientPolicy("127.0.0.1", self.port)

    def stop(self) -> tuple[int, float]:
        """SIGTERM; exit status and seconds until the process has ended."""
        start = time.perf_counter()
        self.process.terminate()
        return self.process.wait(timeout=60), time.perf_counter() - start


@dataclass(frozen=True)
class Measured:
    """Of robots that ask for some seconds."""

    latencies: list[float]
    """Seconds per answer, of all robots."""
    seconds: float
    batch_sizes: list[int]

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: float) -> float:
        """Of the latencies, in milliseconds."""
        return 1e3 * float(np.percentile(self.latencies, percent))


def write_random_policy(name: str, folder: Path) -> Path:
    """Write a policy of a named size with two cameras, a state of 7 and chunks of 10 × 7."""
    torch.manual_seed(0)
    policy, _ = random_policy(name)
    dim = policy.action.dim
    unit = Statistics.checked([-1.0] * dim, [1.0] * dim)
    tokenizer = load_tokenizer(policy.vla.policy_config)
    write_policy(policy, tokenizer, folder, {"random": Normalization(unit, unit)})
    return folder


def observation(size: int, seed: int) -> dict[str, Any]:
    """What one robot sends."""
    generator = np.random.default_rng(seed)
    return {
        "image": generator.integers(0, 256, (size, size, 3), dtype=np.uint8),
        "wrist_image": generator.integers(0, 256, (size, size, 3), dtype=np.uint8),
        "state": generator.uniform(-1, 1, 7),
        "prompt": "push the plate to the left",
    }


def ask(server: Server, robots: int, seconds: float, meanwhile: Callable[[], None] | None = None) -> Measured:
    """Let robots ask, each as soon as it has its answer; `meanwhile` runs beside them, again and again."""
    clients = [server.client() for _ in range(robots)]
    size = clients[0].get_server_metadata()["image_size"]
    end = threading.Event()

    def robot(number: int) -> list[tuple[float, int]]:
        seen, answers = observation(size, number), []
        while not end.is_set():
            start = time.perf_counter()
            answer = clients[number].infer(seen)
            answers.append((time.perf_counter() - start, int(answer["server_timing"]["batch_size"])))
        return answers

    with ThreadPoolExecutor(robots) as pool:
        start = time.perf_counter()
        running = [pool.submit(robot, number) for number in range(robots)]
        while time.perf_counter() - start < seconds:
            if meanwhile is None:
                time.sleep(0.01)
            else:
                meanwhile()
        end.set()
        answers = [answer for future in running for answer in future.result()]
        elapsed = time.perf_counter() - start
    for client in clients:
        client._ws.close()
    return Measured([a[0] for a in answers], elapsed, [a[1] for a in answers])
