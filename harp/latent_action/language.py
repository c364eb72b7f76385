"""Frozen text encoder: token embeddings of instructions, padded, with their mask.

Instructions repeat, so those seen last are kept encoded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForTextEncoding, AutoTokenizer

from data_schemas.errors import UserError
from harp.weights import CATALOG, resolve

KEPT = 4096
"""Instructions; 0.2 GB at 32 tokens of MiniLM, where a large data set has tens of thousands of sentences."""


@dataclass(frozen=True)
class Language:
    """Shapes: B instructions, L tokens of the longest one, E text dimension."""

    tokens: torch.Tensor
    """(B, L, E) float32."""
    mask: torch.Tensor
    """(B, L) bool, False where padded."""

    def __getitem__(self, rows: slice | torch.Tensor) -> "Language":
        return Language(self.tokens[rows], self.mask[rows])

    @staticmethod
    def cat(parts: Sequence["Language"]) -> "Language":
        """Join batches, padding to the longest."""
        return _pad([t[m] for part in parts for t, m in zip(part.tokens, part.mask, strict=True)])


class FrozenTextEncoder:
    """MiniLM, T5 or any other text encoder that `transformers` knows.

    Args:
        model: a model of `harp weights list`, or a local folder with its files.

    Raises:
        UserError: neither of the two.
    """

    def __init__(self, model: str, max_tokens: int = 64, device: torch.device | str = "cpu") -> None:
        folder = resolve(model) if model in CATALOG else Path(model)
        if not (folder / "config.json").is_file():
            raise UserError(
                f"No text encoder {model!r}: neither a folder with one nor one of {', '.join(CATALOG)}."
            )
        transformers.utils.logging.disable_progress_bar()  # a bar per load says nothing here
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._model = AutoModelForTextEncoding.from_pretrained(folder, local_files_only=True)
        self._model = self._model.to(device).eval().requires_grad_(False)
        self._max_tokens = max_tokens
        self._device = device
        self._encoded = lru_cache(maxsize=KEPT)(self._encode_one)
        self.dim: int = self._model.config.hidden_size

    def encode(self, instructions: Sequence[str]) -> Language:
        """Embed B instructions; longer ones than `max_tokens` are cut."""
        return _pad([self._encoded(text) for text in instructions])

    def forget(self) -> None:
        """Encode every instruction anew from here on."""
        self._encoded.cache_clear()

    @torch.no_grad()
    def _encode_one(self, text: str) -> torch.Tensor:
        """In the weights' own precision, so that training, evaluation and labels read the same whatever theirs is."""
        # To the annotations of transformers it is None where `tokenizers` is not installed.
        inputs = self._tokenizer(text, truncation=True, max_length=self._max_tokens, return_tensors="pt")  # pyrefly: ignore[not-callable]
        inputs = inputs.to(self._device)
        with torch.autocast(inputs["input_ids"].device.type, enabled=False):
            return self._model(**inputs).last_hidden_state[0].float()


def _pad(tokens: Sequence[torch.Tensor]) -> Language:
    padded = torch.nn.utils.rnn.pad_sequence(list(tokens), batch_first=True)
    lengths = torch.tensor([len(t) for t in tokens], device=padded.device)
    return Language(padded, torch.arange(padded.shape[1], device=padded.device) < lengths[:, None])
