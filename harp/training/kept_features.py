"""Patch features of a frozen encoder, computed once and kept on disk as float16.

A picture is drawn many times in a training, and the vision encoder is most of a small policy's work. With the encoder
frozen and no random crops its features never change: 49 KB a picture with the `laptop` encoder, 1.1 MB with the
paper's, which is why keeping them is a setting (`data.keep_features`).
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from data_schemas.identity import content_id
from harp.data.arrays import save_array
from harp.policy.predict import device_of
from harp.policy.prismatic import PrismaticVLA
from harp.training.tensors_identity import tensors_identity

PICTURES_AT_ONCE = 32
OPEN_FILES = 256
"""Clips whose features stay mapped."""

Progress = Callable[[int, int], None]
"""Called with (clips done, clips in all)."""


class KeptFeatures:
    """Features of one encoder, a file for each clip; safe to share among threads.

    Args:
        folder: of the features of all runs and encoders.
        vla: whose vision encoder is meant.
        precision: `bf16` encodes under autocast, as a training of that precision does.
        about: what else the features depend on.
    """

    def __init__(self, folder: Path, vla: PrismaticVLA, precision: str, about: str = "") -> None:
        encoder = tensors_identity(
            vla.vision.state_dict(), f"{vla.vision.config.model_dump_json()} {precision}"
        )
        self.folder = folder / f"features-{content_id('features', encoder, about)}"
        self._vla = vla
        self._precision = precision
        self._mapped = lru_cache(OPEN_FILES)(self._map)

    def keep(
        self,
        name: str,
        frames: Callable[[], np.ndarray],
        is_robot: bool,
        prepare: Callable[[np.ndarray], torch.Tensor] = torch.from_numpy,
    ) -> None:
        """Compute the features of a clip, unless they are there.

        Args:
            frames: gives (T, H, W, 3) uint8 RGB.
            is_robot: through the adapted path, else through the frozen one.
            prepare: of some frames what the encoder's `preprocess` takes.
        """
        path = self.folder / f"{name}.npy"
        if not path.is_file():
            whole = frames()
            parts = [whole[i : i + PICTURES_AT_ONCE] for i in range(0, len(whole), PICTURES_AT_ONCE)]
            save_array(path, np.concatenate([self._encode(prepare(np.array(p)), is_robot) for p in parts]))

    def of(self, name: str) -> np.ndarray:
        """(T, P, F) float16, mapped."""
        return self._mapped(name)

    @torch.no_grad()
    def _encode(self, pictures: torch.Tensor, is_robot: bool) -> np.ndarray:
        vision, device = self._vla.vision, device_of(self._vla)
        images = vision.preprocess(pictures.to(device)).to(self._vla.projector.fc1.weight.dtype)
        with torch.autocast(device.type, torch.bfloat16, enabled=self._precision == "bf16"):
            features = vision.adapted(images) if is_robot else vision.frozen(images)
        return features.half().cpu().numpy()

    def _map(self, name: str) -> np.ndarray:
        return np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
