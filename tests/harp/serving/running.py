"""A tiny random policy, a real `harp serve` process of it, and robots that ask it."""

import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harp.policy.action_policy import build_action_policy
from harp.policy.checkpoints import write_policy
from harp.policy.normalization import Normalization, Statistics
from harp.policy.tokenizer import load_tokenizer
from tests.harp.policy.tiny_policy import ACTION, tiny_config, tiny_vla

NORMALIZATION = Normalization(
    Statistics.checked([-2.0, 0, -1, 0], [4.0, 1, 1, 1], [True, True, True, False]),
    Statistics.checked([-1.0] * 5, [1.0] * 5),
)
INSTRUCTIONS = ("push it", "lift the blue cup", "pour from the pitcher into the bowl")
CONFIG = tiny_config(cameras=2, action=ACTION)


def write_tiny_policy(folder: Path) -> Path:
    """Two cameras, a state of 5 numbers, chunks of 3 actions of 4 numbers."""
    policy = build_action_policy(tiny_vla(cameras=2, action=ACTION)).eval()
    write_policy(policy, load_tokenizer(CONFIG), folder, {"robot": NORMALIZATION})
    return folder


def observation(seed: int = 0) -> dict[str, Any]:
    """What one robot sends; another seed gives another."""
    generator = np.random.default_rng(seed)
    return {
        "image": generator.integers(0, 256, (30, 40, 3), dtype=np.uint8),
        "wrist_image": generator.integers(0, 256, (28, 28, 3), dtype=np.uint8),
        "state": generator.uniform(-1, 1, 5),
        "prompt": INSTRUCTIONS[seed % len(INSTRUCTIONS)],
    }


@dataclass
class Running:
    """A server process."""

    process: subprocess.Popen[str]
    host: str = ""
    port: int = 0
    log: str = ""

    @staticmethod
    def start(policy: Path, *arguments: str, token: str | None = None) -> "Running":
        """Start without waiting: `ready` waits."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        environment.pop("HARP_SERVE_TOKEN", None)
        if token is not None:
            environment["HARP_SERVE_TOKEN"] = token
        command = [sys.executable, "-m", "harp", "serve", str(policy), "--port", "0", *arguments]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        return Running(process)

    def ready(self) -> "Running":
        """Wait for the line that names the address; from then on a thread keeps the log."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.log += line
            if found := re.search(r"ws://([\d.]+):(\d+)", line):
                self.host, self.port = found[1], int(found[2])
                threading.Thread(target=self._read, daemon=True).start()
                return self
        raise AssertionError(f"harp serve ended with {self.process.wait()}:\n{self.log}")

    @property
    def url(self) -> str:
        return f"ws://{self.host}:{self.port}"

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.terminate()
        return self.process.wait(timeout=30)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.log += line
