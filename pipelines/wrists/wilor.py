"""WiLoR hands (paper A.1): both hands of every frame, by WiLoR-mini in an environment of its own.

Never a default: its weights are CC-BY-NC-ND, the MANO hand model is for non-commercial research and everyone has to
fetch it under his own name, and its detector's library is AGPL. WiLoR sees single frames; which of the hands is one
through time, and which of them acts, is `association`'s work.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_schemas.errors import UserError
from harp import weights
from pipelines.objects.weights import require
from pipelines.wrists.base import NUM_KEYPOINTS, Hand, HandDetector
from pipelines.wrists.hand_worker.client import HandWorker
from pipelines.wrists.hand_worker.messages import NUM_COORDINATES

WEIGHTS = "wilor-mini"
LOADER = Path(__file__).parent / "hand_worker" / "wilor_loader.py"
BATCH = 16
"""Frames that cross to the worker at a time."""


@dataclass(frozen=True)
class WiLoRConfig:
    """What decides which hands are found, and where."""

    min_confidence: float = 0.3
    """Of WiLoR's hand detector."""
    rescale_factor: float = 2.5
    """Side of the square that the network sees, in sides of the hand's box."""


class WorkerHands(HandDetector):
    """Hands by a model in a child process."""

    def __init__(self, source: str, license: str, worker: HandWorker) -> None:  # noqa: A002
        self.source, self.license = source, license
        self._worker = worker
        worker.start()

    def detect(self, frames: np.ndarray, previous: Sequence[Hand] = ()) -> list[list[Hand]]:
        """See `HandDetector.detect`; every frame is looked at alone.

        Raises:
            BadInput: `hand_worker_died` or `hand_worker_failed`; see `HandWorker.ask`.
        """
        found = []
        for start in range(0, len(frames), BATCH):
            for rows in self._worker.ask(frames[start : start + BATCH]):
                finite = rows[np.isfinite(rows).all(axis=1)].astype(np.float64)
                found.append([_hand(row) for row in finite])
        self.memory_outside_mb = self._worker.memory_mb, self._worker.gpu_memory_mb
        return found

    def close(self) -> None:
        """End the child process."""
        self._worker.close()


def installation() -> tuple[str, Path, Path]:
    """Python of WiLoR's environment, folder of its weights, MANO's file.

    Raises:
        UserError: one of them is not there; says how to get it.
    """
    python, mano = os.environ.get("HARP_WILOR_PYTHON"), os.environ.get("HARP_MANO_FILE")
    if not python:
        raise UserError(
            "WiLoR needs a Python environment of its own: make one as docs/annotators.md says and set HARP_WILOR_PYTHON "
            "to its python."
        )
    if not mano or not Path(mano).is_file():
        raise UserError(
            f"WiLoR needs MANO's right hand and HARP_MANO_FILE is {mano or 'not set'}: register at "
            "mano.is.tue.mpg.de (non-commercial research), and set HARP_MANO_FILE to MANO_RIGHT.pkl."
        )
    return python, require(WEIGHTS), Path(mano).resolve()


def wilor_hands(config: WiLoRConfig) -> WorkerHands:
    """WiLoR, on the GPU where its environment sees one.

    Raises:
        UserError: it is not installed.
    """
    python, folder, mano = installation()
    options = {
        "weights": str(folder),
        "mano": str(mano),
        "min_confidence": config.min_confidence,
        "rescale_factor": config.rescale_factor,
    }
    entry = weights.CATALOG[WEIGHTS]
    return WorkerHands(entry.model_id, entry.license, HandWorker(python, LOADER, options))


def _hand(row: np.ndarray) -> Hand:
    keypoints = row[:NUM_COORDINATES].reshape(NUM_KEYPOINTS, 2)
    return Hand(keypoints, confidence=float(row[NUM_COORDINATES]), right=float(row[NUM_COORDINATES + 1]))
