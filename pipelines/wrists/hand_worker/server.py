"""Runs a hand model for another process: `python server.py SOCKET LOADER OPTIONS`.

Started by `pipelines.wrists.hand_worker.client` under the interpreter of the model's own environment, so it imports
nothing of HARP but `messages`, which lies beside it. The loader is a file with a function `load(**options)` that
returns what maps frames (B, H, W, 3) uint8 RGB to B arrays of hands (see `messages`), in pixels (x, y) of the frame.

It ends when its owner does: then the socket closes, even if the owner was killed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from messages import HAND_COLUMNS, receive, send

Detect = Callable[[np.ndarray], Sequence[np.ndarray]]


def main() -> None:
    """Load the model, say so, then answer every request until the owner is gone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("socket", type=int, help="file descriptor of the connection")
    parser.add_argument("loader", type=Path, help="Python file with a function `load`")
    parser.add_argument("options", type=json.loads, help="keyword arguments of `load`, as JSON")
    arguments = parser.parse_args()
    sys.path.pop(0)  # this folder, whose names must not hide the model's own
    with socket.socket(fileno=arguments.socket) as connection:
        detect = load(arguments.loader, arguments.options)
        send(connection, {"ready": sys.version.split()[0]})
        serve(connection, detect)


def load(loader: Path, options: dict) -> Detect:
    """The model of a loader file, which need not lie on the import path."""
    spec = importlib.util.spec_from_file_location(loader.stem, loader)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load(**options)


def serve(connection: socket.socket, detect: Detect) -> None:
    """Answer requests; what the model raises is an answer too, and the worker goes on."""
    while True:
        try:
            _, frames = receive(connection)
        except EOFError:
            return
        try:
            hands = [np.asarray(h, np.float32).reshape(-1, HAND_COLUMNS) for h in detect(frames)]
            if len(hands) != len(frames):
                raise ValueError(f"the model answered for {len(hands)} frames, expected {len(frames)}")
        except Exception:
            send(connection, {"error": traceback.format_exc()[-2000:], **_memory()})
            continue
        counts = [len(found) for found in hands]
        together = np.concatenate(hands) if hands else np.zeros((0, HAND_COLUMNS), np.float32)
        send(connection, {"counts": counts, **_memory()}, together)


def _memory() -> dict[str, float]:
    """Highest resident memory of this process so far, and of its GPU where torch uses one, MB."""
    torch = sys.modules.get("torch")
    gpu = torch.cuda.max_memory_allocated() / 2**20 if torch and torch.cuda.is_available() else 0.0
    return {"memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "gpu_memory_mb": gpu}


if __name__ == "__main__":
    main()
