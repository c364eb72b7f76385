"""GroundingDINO (Liu et al. 2023) by `transformers`.

Frames of one size are batched: then nothing is padded, and a batch gives what its frames give one by one.
Architecture and preprocessing are the published ones, written out here, so that the only files needed are
the weights and BERT's vocabulary, both known by their SHA-256.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import (
    BertTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,
    GroundingDinoProcessor,
    SwinConfig,
)

from pipelines.objects import weights
from pipelines.objects.phrase_detector import Detection, PhraseDetector, Thresholds, caption
from pipelines.objects.torch_device import best_device, inference

BATCH = 8
"""Frames per forward pass: about 10 GB at 800 x 1333 with the tiny backbone."""

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "grounding-dino-tiny": {
        "image_size": 224, "window_size": 7, "embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24]
    },
    "grounding-dino-base": {
        "image_size": 384, "window_size": 12, "embed_dim": 128, "depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32]
    },
}  # fmt: skip
"""Backbones (Swin); everything else is `GroundingDinoConfig`'s default."""


def swin(**sizes: Any) -> SwinConfig:
    """Backbone of which the detector reads the last three stages."""
    config = SwinConfig(**sizes)
    config.out_indices = [2, 3, 4]
    return config


class GroundingDino(PhraseDetector):
    """Open-vocabulary boxes by GroundingDINO."""

    def __init__(self, name: str = "grounding-dino-tiny", thresholds: Thresholds | None = None) -> None:
        self.name = name
        self.model = weights.model_id(name)
        self.thresholds = thresholds or Thresholds()

    def check(self) -> None:
        weights.require(self.name)

    def load(self) -> None:
        folder = weights.require(self.name)
        backbone = swin(**ARCHITECTURES[self.name])
        network = GroundingDinoForObjectDetection(GroundingDinoConfig(backbone_config=backbone))
        missing, unexpected = network.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
        # Heads that share the weights of the first one are stored once; buffers such as position ids come and go.
        tied = set(network.all_tied_weights_keys)
        if set(missing) - tied or any(not key.endswith("position_ids") for key in unexpected):
            raise RuntimeError(
                f"{self.model} does not fit: missing {missing[:3]}, unexpected {unexpected[:3]}"
            )
        network.tie_weights()
        self.use(network, folder / "vocab.txt")

    def use(self, network: torch.nn.Module, vocabulary: Path, side: int = 800) -> None:
        """Run `network` with the tokenizer of `vocabulary` on pictures whose shorter side is made `side`."""
        tokenizer = BertTokenizer(str(vocabulary), do_lower_case=True)
        size = {"shortest_edge": side, "longest_edge": round(side * 1333 / 800)}
        self._processor = GroundingDinoProcessor(GroundingDinoImageProcessorPil(size=size), tokenizer)
        self._device = best_device()
        self._network = torch.nn.Module.to(network.eval(), self._device)

    def detect(self, frames: Sequence[np.ndarray], phrases: Sequence[str]) -> list[list[Detection]]:
        by_size: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for i, frame in enumerate(frames):
            by_size[frame.shape[:2]].append(i)
        found: list[list[Detection]] = [[] for _ in frames]
        for group in by_size.values():
            for begin in range(0, len(group), BATCH):
                batch = group[begin : begin + BATCH]
                results = self._forward([frames[i] for i in batch], [caption(phrases[i]) for i in batch])
                for i, result in zip(batch, results, strict=True):
                    found[i] = result
        return found

    def _forward(self, frames: list[np.ndarray], captions: list[str]) -> list[list[Detection]]:
        """One pass over frames of one size."""
        # The annotations of transformers lack the options of the tokenizer.
        inputs = self._processor(images=frames, text=captions, padding=True, return_tensors="pt")  # pyrefly: ignore[unexpected-keyword]
        with inference(self._device):
            outputs = self._network(**inputs.to(self._device))
        outputs.logits, outputs.pred_boxes = outputs.logits.float(), outputs.pred_boxes.float()
        results = self._processor.post_process_grounded_object_detection(
            outputs,
            inputs["input_ids"],
            threshold=self.thresholds.box,
            text_threshold=self.thresholds.text,
            target_sizes=[frame.shape[:2] for frame in frames],
        )
        return [_sorted(result) for result in results]


def _sorted(result: dict) -> list[Detection]:
    order = torch.argsort(result["scores"], descending=True, stable=True).tolist()
    boxes = result["boxes"].cpu().numpy().astype(np.float32)
    labels = [label.replace("[SEP]", "").strip(" .") for label in result["text_labels"]]
    return [Detection(boxes[i], float(result["scores"][i]), labels[i]) for i in order]
