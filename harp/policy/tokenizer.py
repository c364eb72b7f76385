"""Instructions to token ids.

The prompt ends with the space that stands before the answer: Llama-2 makes a token of its own of it (29871), which
OpenVLA appends by hand. Latent actions are ids by arithmetic; a saved tokenizer lists them too, so that other tools
can print them. No instruction can smuggle one in, because instructions are lower-cased and the names are not.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

from data_schemas.errors import BadInput, UserError
from harp.policy.config import PROMPT, PolicyConfig
from harp.weights import CATALOG, resolve

TOKENIZER_FILE, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"


@dataclass(frozen=True)
class Tokens:
    """A batch of token sequences, padded on the right."""

    ids: Tensor
    """(B, L) int64, `<PAD>` where there is no token."""
    lengths: Tensor
    """(B,) int64."""

    @property
    def is_token(self) -> Tensor:
        """(B, L) bool, False where padded."""
        return torch.arange(self.ids.shape[1], device=self.ids.device) < self.lengths[:, None]

    def to(self, device: torch.device | str) -> "Tokens":
        return Tokens(self.ids.to(device), self.lengths.to(device))


class PolicyTokenizer:
    """Prompts of instructions for one language model.

    Args:
        tokenizer: of the language model.
    """

    def __init__(self, tokenizer: Tokenizer, config: PolicyConfig) -> None:
        self._tokenizer = tokenizer
        self._config = config

    def prompts(self, instructions: Sequence[str]) -> Tokens:
        """`<BOS>` and the prompt of each instruction, lower-cased as OpenVLA does.

        Raises:
            BadInput: an instruction without words, or one too long for the model.
        """
        return pad([self._prompt(text) for text in instructions], self._config.language_model.pad_id)

    def _prompt(self, instruction: str) -> Tensor:
        words = " ".join(instruction.lower().split())
        if not words:
            raise BadInput(
                "empty_instruction", "the instruction has no words; the policy needs to be told what to do."
            )
        text = PROMPT.format(instruction=words) + " "
        ids = [
            self._config.language_model.bos_id,
            *self._tokenizer.encode(text, add_special_tokens=False).ids,
        ]
        if len(ids) > self._config.prompt_tokens:
            raise BadInput(
                "long_instruction",
                f"the prompt has {len(ids)} tokens, beside the images there is room for {self._config.prompt_tokens}.",
            )
        return torch.tensor(ids)

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` with `<PAD>` and `<ACT_i>` as entries, and what `transformers` reads beside it."""
        extended = Tokenizer.from_str(self._tokenizer.to_str())
        # Embedding tables may have more rows than there are tokens; ids are given out without gaps.
        known, rows = extended.get_vocab_size(), self._config.language_model.vocabulary
        unused = [f"<UNUSED_{row}>" for row in range(known, rows)]
        names = ["<PAD>", *(f"<ACT_{code}>" for code in range(self._config.num_codes))]
        extended.add_special_tokens([*unused, *names])
        extended.save(str(folder / TOKENIZER_FILE))
        sizes = self._config.language_model
        special = {"bos": sizes.bos_id, "eos": sizes.eos_id, "pad": sizes.pad_id}
        settings = {f"{name}_token": extended.id_to_token(number) for name, number in special.items()}
        settings |= {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": sizes.max_tokens}
        settings |= {"padding_side": "right", "clean_up_tokenization_spaces": False}
        (folder / TOKENIZER_CONFIG).write_text(json.dumps(settings, indent=2))


def load_tokenizer(config: PolicyConfig, folder: Path | None = None) -> PolicyTokenizer:
    """The tokenizer of a policy: of `folder` (a checkpoint), else of the language model's weights, else bytes.

    Raises:
        UserError: no tokenizer there, or one of another vocabulary.
    """
    source = folder or language_model_folder(config)
    if source is None:
        return PolicyTokenizer(_byte_tokenizer(), config)
    path = source / TOKENIZER_FILE
    if not path.is_file():
        raise UserError(
            f"There is no {TOKENIZER_FILE} in {source}; save the language model's fast tokenizer there."
        )
    tokenizer = Tokenizer.from_file(str(path))
    found, expected = tokenizer.token_to_id("<ACT_0>"), config.code_ids[0]
    base, vocabulary = tokenizer.get_vocab_size(with_added_tokens=False), config.language_model.vocabulary
    if base > vocabulary or found not in (None, expected):
        raise UserError(
            f"{path} has {base} tokens and <ACT_0> at {found}, the policy is configured for {vocabulary} tokens and "
            f"<ACT_0> at {expected}; use the tokenizer of its language model."
        )
    return PolicyTokenizer(tokenizer, config)


def language_model_folder(config: PolicyConfig) -> Path | None:
    """Where the language model's weights and tokenizer lie, fetched if need be; None where it is random."""
    weights = config.language_model.weights
    if weights is None:
        return None
    return resolve(weights) if weights in CATALOG else Path(weights)


def pad(sequences: Sequence[Tensor], pad_id: int) -> Tokens:
    """Stack id sequences, padded on the right."""
    ids = torch.nn.utils.rnn.pad_sequence(list(sequences), batch_first=True, padding_value=pad_id)
    return Tokens(ids, torch.tensor([len(sequence) for sequence in sequences]))


def append(tokens: Tokens, suffix_BS: Tensor, pad_id: int) -> Tokens:
    """Put S more tokens after each sequence, before its padding."""
    rows = zip(tokens.ids, tokens.lengths.tolist(), suffix_BS, strict=True)
    extended = pad([torch.cat([ids[:length], suffix]) for ids, length, suffix in rows], pad_id)
    return extended.to(tokens.ids.device)


def _byte_tokenizer() -> Tokenizer:
    """One token per byte of UTF-8, ids 0 to 255, then `<BOS>` and `<EOS>`."""
    vocabulary = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "<BOS>", "<EOS>"]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(vocabulary)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
