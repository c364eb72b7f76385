"""Latent actions of all transitions of a clip (paper §3.3).

Every frame goes through the vision encoder once, in batches, and its tokens serve all transitions that begin or end
there; transitions go through the latent action model's encoder in batches, its decoder is not needed. Labelling one
transition at a time, as a training loop does that labels on the fly, encodes every frame twice for each horizon.
Memory holds the tokens of one clip: at the paper's sizes 2.2 MB a frame.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from harp.data.sampling import horizon_frames
from harp.latent_action.language import FrozenTextEncoder
from harp.latent_action.model import LatentActionModel
from harp.vision.encoder import HarpVisionEncoder


class Labeller:
    """HARP-VE and HARP-LAM as a function from frames to codes.

    Args:
        encoder, latent_action, text: of one stage-1 run, in evaluation mode on one device.
        precision: `bf16` runs both networks under autocast; codes of latents that lie between two may then differ.
        batch_size: frames, and transitions, at a time.
    """

    def __init__(
        self,
        encoder: HarpVisionEncoder,
        latent_action: LatentActionModel,
        text: FrozenTextEncoder,
        *,
        precision: Literal["fp32", "bf16"] = "fp32",
        batch_size: int = 64,
    ) -> None:
        self._encoder, self._latent_action, self._text = encoder, latent_action, text
        self._precision, self._batch_size = precision, batch_size
        self._device = next(encoder.parameters()).device

    @torch.no_grad()
    def codes(self, frames: np.ndarray, side: str, instruction: str, transitions: np.ndarray) -> np.ndarray:
        """(N, Q) int64 codes of transitions.

        Args:
            frames: (T, H, W, 3) uint8 RGB.
            side: `human` takes the frozen path, `robot` the adapted one.
            transitions: (N, 2) frames t and t+Δ.
        """
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._precision == "bf16"):
            needed, places = np.unique(transitions, return_inverse=True)
            tokens_TPV = self._tokens(frames, needed, side)
            pairs = torch.from_numpy(places.reshape(-1, 2)).to(self._device)
            language = self._text.encode([instruction] * min(len(pairs), self._batch_size))
            is_robot = torch.full((len(pairs),), side == "robot").split(self._batch_size)
            codes = [
                self._latent_action.encode(tokens_TPV[batch], language[: len(batch)], whose).codes.cpu()
                for batch, whose in zip(pairs.split(self._batch_size), is_robot, strict=True)
            ]
        return torch.cat(codes).numpy()

    def _tokens(self, frames: np.ndarray, needed: np.ndarray, side: str) -> torch.Tensor:
        encode = self._encoder.adapted if side == "robot" else self._encoder.frozen
        parts = []
        for start in range(0, len(needed), self._batch_size):
            batch = torch.from_numpy(frames[needed[start : start + self._batch_size]]).to(self._device)
            parts.append(encode(self._encoder.preprocess(batch)))
        return torch.cat(parts)


def transitions(num_frames: int, fps: float, horizons: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """(horizon in seconds (N,), frames t and t+Δ (N, 2)) of every frame that has one Δ later.

    The last Δ frames of a clip have none: repeating its end would label them as standing still.

    Args:
        num_frames: at least two.
        horizons: Δ in seconds; turned into frames as stage 1 does, at most the clip's length.
    """
    frames, seconds = [], []
    for horizon in horizons:
        step = horizon_frames(horizon, fps, num_frames - 1)
        first = np.arange(num_frames - step)
        frames.append(np.stack([first, first + step], axis=1))
        seconds.append(np.full(len(first), horizon, np.float32))
    return np.concatenate(seconds), np.concatenate(frames)
