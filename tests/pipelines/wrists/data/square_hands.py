"""A hand model for tests of the worker: a bright square is a hand; dark codes in the corner make it misbehave."""

import os
import time
from pathlib import Path

import numpy as np

DIE, HANG, RAISE, MISCOUNT = 1, 2, 3, 4
"""Value of a frame's first pixel, and what comes of it."""


def load(notes: str, once: bool = True, broken: bool = False):
    """Args: notes, a file that remembers misdeeds; once, each is done once only."""
    if broken:
        raise RuntimeError("weights are missing")
    done = Path(notes)

    def detect(frames):
        print("models print to standard output")
        code = int(frames[0, 0, 0, 0])
        if code and not (once and done.exists()):
            done.write_text(done.read_text() + "x" if done.exists() else "x")
            if code == DIE:
                os._exit(3)
            if code == HANG:
                time.sleep(60)
            if code == RAISE:
                raise ValueError("no such hand")
            if code == MISCOUNT:
                return []
        return [square(frame) for frame in frames]

    return detect


def square(frame):
    """(1, 44), or (0, 44) where nothing is bright: wrist at its centre, fingers at its corners, red ones left hands."""
    ys, xs = np.nonzero(frame.max(axis=-1) > 200)
    if not len(xs):
        return np.zeros((0, 44))
    corners = [(x, y) for x in (xs.min(), xs.max()) for y in (ys.min(), ys.max())]
    right = float(frame[ys[0], xs[0], 1] > 200)
    return np.array([[xs.mean(), ys.mean(), *np.ravel(corners * 5), 0.8, right]])
