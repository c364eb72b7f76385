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

from harp.training.stage import TrainingStage


class Checkpoints:
    """Newest checkpoint of a run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(
        self, step: int, stage: TrainingStage, optimizer: torch.optim.Optimizer, loader: dict[str, Any]
    ) -> None:
        """Write the state after `step` steps and drop older checkpoints."""
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._folder / f".partial-{step:06d}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        save_file(_plain(stage.trained_state()), partial / "model.safetensors")
        moments = {
            f"{index}.{name}": value
            for index, state in optimizer.state_dict()["state"].items()
            for name, value in state.items()
        }
        save_file(_plain(moments), partial / "optimizer.safetensors")
        (partial / "state.json").write_text(json.dumps({"step": step, "loader": loader}))
        _flush(partial)
        final = self._folder / f"step-{step:06d}"
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        for older in self._steps()[:-1]:
            shutil.rmtree(older)

    def load(self, stage: TrainingStage, optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
        """Restore the newest checkpoint into stage and optimizer.

        Returns:
            `state.json`, or None where there is no checkpoint.
        """
        steps = self._steps()
        if not steps:
            return None
        stage.load_trained_state(load_file(steps[-1] / "model.safetensors"))
        moments = load_file(steps[-1] / "optimizer.safetensors")
        restored: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in moments.items():
            index, key = name.split(".", 1)
            restored.setdefault(int(index), {})[key] = value
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": restored, "param_groups": groups})
        return json.loads((steps[-1] / "state.json").read_text())

    def _steps(self) -> list[Path]:
        return sorted(self._folder.glob("step-*"))


def _plain(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _flush(folder: Path) -> None:
    for path in (*folder.iterdir(), folder):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
