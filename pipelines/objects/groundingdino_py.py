"""GroundingDINO by its authors' package `groundingdino-py`, for comparison with results made with it.

The package (2023) needs transformers below 5 and its own torchvision, so it does not run in HARP's
environment: give it one of its own. It fetches `bert-base-uncased` from the model hub by itself.
`grounding_dino` is the same network by `transformers`, batched.
"""

import importlib.util
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from data_schemas.errors import UserError
from pipelines.objects import weights
from pipelines.objects.phrase_detector import Detection, PhraseDetector, Thresholds, caption
from pipelines.objects.torch_device import best_device

NAME = "groundingdino-swint-ogc"
SIDE, LONGEST = 800, 1333
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class GroundingDinoPy(PhraseDetector):
    """Open-vocabulary boxes, one frame at a time."""

    def __init__(self, thresholds: Thresholds | None = None) -> None:
        self.model = weights.model_id(NAME)
        self.thresholds = thresholds or Thresholds()

    def check(self) -> None:
        if importlib.util.find_spec("groundingdino") is None:
            raise UserError(
                "The grounder 'groundingdino-py' needs the package groundingdino-py, which is not installed: "
                "`pip install groundingdino-py 'transformers<5'` in an environment of its own, or choose the "
                "grounder 'groundingdino', the same network by transformers."
            )
        weights.require(NAME)

    def load(self) -> None:
        self.check()
        from groundingdino.config import GroundingDINO_SwinT_OGC as published
        from groundingdino.util.inference import load_model, predict

        self._predict = predict
        self._device = str(best_device())
        checkpoint = weights.require(NAME) / "groundingdino_swint_ogc.pth"
        self._network = load_model(str(published.__file__), str(checkpoint), self._device)

    def detect(self, frames: Sequence[np.ndarray], phrases: Sequence[str]) -> list[list[Detection]]:
        return [self._detect(frame, phrase) for frame, phrase in zip(frames, phrases, strict=True)]

    def _detect(self, frame: np.ndarray, phrase: str) -> list[Detection]:
        boxes, scores, labels = self._predict(
            self._network,
            normalized(frame),
            caption(phrase),
            self.thresholds.box,
            self.thresholds.text,
            self._device,
        )
        height, width = frame.shape[:2]
        centre, size = boxes.numpy()[:, :2], boxes.numpy()[:, 2:]
        corners = np.concatenate([centre - size / 2, centre + size / 2], axis=1) * np.array(
            [width, height] * 2
        )
        order = np.argsort(-scores.numpy(), kind="stable")
        return [Detection(corners[i].astype(np.float32), float(scores[i]), labels[i]) for i in order]


def normalized(frame: np.ndarray) -> torch.Tensor:
    """(3, h, w) float: `frame` as the package's own `load_image` resizes and normalizes a picture of a file."""
    height, width = frame.shape[:2]
    short, long = min(height, width), max(height, width)
    side = SIDE if SIDE * long / short <= LONGEST else round(LONGEST * short / long)
    size = (int(side * width / short), int(side * height / short))
    picture = Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR)
    values = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
    return (values - torch.tensor(MEAN)[:, None, None]) / torch.tensor(DEVIATION)[:, None, None]
