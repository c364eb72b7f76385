"""The owner's side of a hand worker: starts the child, asks it, and starts it again when it dies or hangs.

A hand model whose pins conflict with ours (WiLoR: torch <= 2.5, numpy < 2, Python 3.10) cannot be imported here, and
a Ray `runtime_env` would have to run the cluster's own Python version. So it runs as a child of the stage's worker,
under the interpreter of its own environment, and talks over a socket pair. Frames cross it as raw bytes: 640 × 360
pixels take about a millisecond, against 50 to 100 ms that WiLoR takes on a GPU.
"""

import json
import logging
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from data_schemas.errors import BadInput, UserError
from pipelines.wrists.hand_worker.messages import receive, send

logger = logging.getLogger(__name__)

SERVER = Path(__file__).with_name("server.py")

OWN_TO_AN_INTERPRETER = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
"""Variables that would lead the child's interpreter to our packages."""

LOG_TAIL = 600
"""Characters of the child's last words that an error quotes."""


@dataclass
class HandWorker:
    """A hand model in a child process; use as a context, or call `close`.

    Args:
        python: interpreter of the model's environment.
        loader: file with the function `load`; see `server`.
        options: its keyword arguments.
        start_timeout: seconds that loading may take.
        reply_timeout: seconds without a sign of life after which a child that was asked is killed.
    """

    python: str
    loader: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    start_timeout: float = 900.0
    reply_timeout: float = 300.0
    memory_mb: float = 0.0
    """Highest resident memory of the child, as of its last answer."""
    gpu_memory_mb: float = 0.0
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _connection: socket.socket | None = field(default=None, init=False)
    _log: IO[bytes] | None = field(default=None, init=False)

    def __enter__(self) -> "HandWorker":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the child and wait until its model is loaded; nothing happens where it runs already.

        Raises:
            UserError: it cannot be started, or it ends or falls silent while it loads; with its last words.
        """
        if self._child is not None and self._child.poll() is None:
            return
        self.close()
        ours, theirs = socket.socketpair()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        command = [self.python, str(SERVER), str(theirs.fileno()), str(self.loader)]
        try:
            self._child = subprocess.Popen(
                [*command, json.dumps(dict(self.options))],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[theirs.fileno()],
                env={k: v for k, v in os.environ.items() if k not in OWN_TO_AN_INTERPRETER},
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise UserError(
                f"The hand worker's interpreter {self.python} cannot be run ({error.strerror}); "
                "give the path of the `python` in the model's own environment."
            ) from error
        finally:
            theirs.close()
        self._connection = ours
        ours.settimeout(self.start_timeout)
        try:
            header, _ = receive(ours)
        except (OSError, EOFError) as error:
            words = self._last_words(error)
            self.close()
            raise UserError(
                f"The hand worker under {self.python} did not come up. It said: {words}"
            ) from error
        logger.info("Hand worker %s is ready, Python %s", self.loader.stem, header["ready"])

    def ask(self, frames: np.ndarray) -> list[np.ndarray]:
        """Hands of every frame, (N, 44) each; see `messages`. A child that dies or hangs is started again, once.

        Args:
            frames: (B, H, W, 3) uint8 RGB.

        Raises:
            BadInput: `hand_worker_died` or `hand_worker_failed`, retryable; with the child's last words.
        """
        for last in (False, True):
            try:
                return self._ask(frames)
            except (OSError, EOFError) as error:
                words = self._last_words(error)
                self.close()
                if last:
                    raise BadInput(
                        "hand_worker_died",
                        f"The hand worker died or hung twice on these frames. It said: {words}",
                        retryable=True,
                    ) from error
                logger.warning("Hand worker %s is started again: %s", self.loader.stem, words)
        raise AssertionError

    def close(self) -> None:
        """End the child and all that it started."""
        if self._connection is not None:
            self._connection.close()
        if self._child is not None:
            if self._child.poll() is None:
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
        if self._log is not None:
            self._log.close()
        self._child = self._connection = self._log = None

    def _ask(self, frames: np.ndarray) -> list[np.ndarray]:
        self.start()
        assert self._connection is not None
        self._connection.settimeout(self.reply_timeout)
        send(self._connection, {}, frames)
        header, hands = receive(self._connection)
        self.memory_mb, self.gpu_memory_mb = header["memory_mb"], header["gpu_memory_mb"]
        if "error" in header:
            raise BadInput("hand_worker_failed", header["error"].strip().splitlines()[-1], retryable=True)
        return np.split(hands, np.cumsum(header["counts"])[:-1])

    def _last_words(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return "nothing for as long as it was given"
        assert self._log is not None
        assert self._child is not None
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout=30)  # it closes the connection before it has said its last words
        self._log.seek(0)
        words = " ".join(self._log.read().decode(errors="replace").split())
        return words[-LOG_TAIL:] or f"nothing ({error})"
