"""Checkpoints that are there whole or not at all, and that resume exactly.

A checkpoint is a folder `step-000050/`: `model.safetensors` (what training changes; frozen weights stay where they
came from), `optimizer.safetensors` (AdamW moments), `state.json` (loader position). It is written
under another name, flushed, and renamed; the one before it is removed afterwards.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from harp.training.distributed import rank
from harp.training.sharding import shared_like, whole_on_first
from harp.training.stage import Trained

CHECKPOINTS = "checkpoints"
"""Their folder in a run's."""


class Checkpoints:
    """Newest checkpoint of a run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(
        self, step: int, stage: Trained, optimizer: torch.optim.Optimizer, loader: dict[str, Any]
    ) -> None:
        """Write the state after `step` steps and drop older checkpoints.

        Every worker has to call this; the first one writes.
        """
        moments = {
            f"{index}.{name}": value
            for index, state in optimizer.state_dict()["state"].items()
            for name, value in state.items()
        }
        trained, moments = whole_on_first(stage.trained_state()), whole_on_first(moments)
        if rank() == 0:
            self._write(step, trained, moments, loader)

    def _write(
        self,
        step: int,
        trained: dict[str, torch.Tensor],
        moments: dict[str, torch.Tensor],
        loader: dict[str, Any],
    ) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._folder / f".partial-{step:06d}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        save_file(trained, partial / "model.safetensors")
        save_file(moments, partial / "optimizer.safetensors")
        (partial / "state.json").write_text(json.dumps({"step": step, "loader": loader}))
        _flush(*partial.iterdir(), partial)
        final = self._folder / f"step-{step:06d}"
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        _flush(self._folder)  # the new name, before the old checkpoint goes
        for older in self._steps()[:-1]:
            shutil.rmtree(older)

    def load(self, stage: Trained, optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
        """Restore the newest checkpoint into stage and optimizer.

        Returns:
            `state.json`, or None where there is no checkpoint.
        """
        steps = self._steps()
        if not steps:
            return None
        self.load_trained(stage)
        moments = load_file(steps[-1] / "optimizer.safetensors")
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        restored: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in moments.items():
            index, key = name.split(".", 1)
            own = parameters[int(index)]
            share = (
                shared_like(value, own) if value.shape == own.shape else value
            )  # the step count is a number
            restored.setdefault(int(index), {})[key] = share
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": restored, "param_groups": groups})
        return json.loads((steps[-1] / "state.json").read_text())

    def load_trained(self, stage: Trained) -> None:
        """Restore what was trained up to the newest checkpoint, which has to be there."""
        own = stage.trained_state()
        state = load_file(self._steps()[-1] / "model.safetensors")
        stage.load_trained_state({n: shared_like(t, own[n]) if n in own else t for n, t in state.items()})

    def _steps(self) -> list[Path]:
        return sorted(self._folder.glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))


def _flush(*paths: Path) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
