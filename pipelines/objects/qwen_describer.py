"""Object descriptions by Qwen3-VL in this process, through `transformers`.

The prompt is put together here instead of by `Qwen3VLProcessor`, whose video half needs torchvision: each
picture becomes `<|vision_start|>`, one `<|image_pad|>` per merged patch, `<|vision_end|>`. Clips are padded on the
left and generated as one batch, greedily.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError
from transformers import AutoTokenizer, Qwen2VLImageProcessorPil, Qwen3VLForConditionalGeneration

from data_schemas.errors import UserError
from pipelines.objects.base import ObjectDescriber
from pipelines.objects.config import DescribeConfig
from pipelines.objects.description import PROMPT, UnusableAnswer, parse, pictures
from pipelines.objects.torch_device import best_device, inference

REVISIONS = {"Qwen/Qwen3-VL-8B-Instruct": "0c351dd01ed87e9c1b53cbc748cba10e6187ff3b"}
MAX_NEW_TOKENS = 64
PICTURES: dict[str, Any] = {
    "size": {"shortest_edge": 256**2, "longest_edge": 4096**2},
    "patch_size": 16,
    "merge_size": 2,
    "temporal_patch_size": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
"""Qwen3-VL's, as published with its weights; the processor's defaults are Qwen2-VL's. The two edges are numbers of
pixels: smaller pictures are enlarged."""


class QwenDescriber(ObjectDescriber):
    """Runs the model itself."""

    def __init__(self, config: DescribeConfig) -> None:
        self.config = config
        self.revision = REVISIONS.get(config.model, "main")
        self.model = f"{config.model}@{self.revision[:8]}"
        self.num_frames = config.num_frames

    def check(self) -> None:
        self._folder()

    def load(self) -> None:
        folder = self._folder()
        network = Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16)
        self.use(network, AutoTokenizer.from_pretrained(folder))

    def _folder(self) -> str:
        try:
            return snapshot_download(self.config.model, revision=self.revision, local_files_only=True)
        except LocalEntryNotFoundError as error:
            raise UserError(
                f"The weights of {self.model} are not on this machine: "
                f"`hf download {self.config.model} --revision {self.revision}` fetches them (17.5 GB, licence "
                "Apache-2.0); or use the describer 'openai' with a server that has them."
            ) from error

    def use(self, network: Any, tokenizer: Any) -> None:
        """Run `network`, a `Qwen3VLForConditionalGeneration`, with `tokenizer`, which must know Qwen's special tokens."""
        self._device = best_device()
        self._network: Any = network.eval()
        self._network.to(self._device)
        self._tokenizer = tokenizer
        tokenizer.padding_side = "left"
        self._pictures = Qwen2VLImageProcessorPil(**PICTURES)

    def describe(self, clips: Sequence[np.ndarray]) -> list[str]:
        """An answer that does not fit the schema is none: greedy decoding would repeat it."""
        return [_phrase(answer) for answer in self.answers(clips)]

    def answers(self, clips: Sequence[np.ndarray]) -> list[str]:
        """The model's own words, one per clip."""
        if not clips:
            return []
        every = [pictures(clip, self.config.max_side) for clip in clips]
        images = self._pictures([picture for clip in every for picture in clip], return_tensors="pt")
        tokens = (images["image_grid_thw"].prod(dim=1) // PICTURES["merge_size"] ** 2).tolist()
        counts = iter(tokens)
        prompts = [_prompt([next(counts) for _ in clip]) for clip in every]
        text = self._tokenizer(prompts, padding=True, return_tensors="pt", add_special_tokens=False)
        is_image = text["input_ids"] == self._network.config.image_token_id
        inputs = {
            "input_ids": text["input_ids"],
            "attention_mask": text["attention_mask"],
            "mm_token_type_ids": is_image.long(),
            "pixel_values": images["pixel_values"].to(self._network.dtype),
            "image_grid_thw": images["image_grid_thw"],
        }
        with inference(self._device):
            generated = self._network.generate(
                **{name: value.to(self._device) for name, value in inputs.items()},
                max_new_tokens=MAX_NEW_TOKENS,
                do_sample=False,
            )
        return self._tokenizer.batch_decode(
            generated[:, text["input_ids"].shape[1] :], skip_special_tokens=True
        )


def _prompt(tokens_per_picture: Sequence[int]) -> str:
    """Qwen's chat format with room for the pictures' tokens."""
    vision = "".join(f"<|vision_start|>{'<|image_pad|>' * n}<|vision_end|>" for n in tokens_per_picture)
    return f"<|im_start|>user\n{vision}{PROMPT}<|im_end|>\n<|im_start|>assistant\n"


def _phrase(answer: str) -> str:
    try:
        return parse(answer)
    except UnusableAnswer:
        return ""
