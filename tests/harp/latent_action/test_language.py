"""The paper's kind of text encoder, T5, at a small size: padding, masks and cutting."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import Unigram
from tokenizers.pre_tokenizers import Metaspace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from data_schemas.errors import UserError
from harp.latent_action.language import FrozenTextEncoder, Language

PIECES = ["<pad>", "</s>", "<unk>", "▁push", "▁the", "▁red", "▁cup", "▁lift", "▁"]


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like the published one: configuration, tokenizer, and weights with the decoder in them."""
    folder = tmp_path_factory.mktemp("t5")
    tokenizer = Tokenizer(Unigram([(piece, -float(i)) for i, piece in enumerate(PIECES)], unk_id=2))
    tokenizer.pre_tokenizer = Metaspace()
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = T5Config(vocab_size=len(PIECES), d_model=16, d_kv=4, d_ff=32, num_layers=2, num_heads=4)
    T5ForConditionalGeneration(sizes).save_pretrained(folder)
    return folder


def test_instructions_are_padded_and_masked(t5: Path) -> None:
    encoder = FrozenTextEncoder(str(t5))
    language = encoder.encode(["push the red cup", "lift", "push the red cup"])
    assert encoder.dim == 16
    assert language.tokens.shape == (3, 5, 16)
    assert language.mask.sum(1).tolist() == [5, 2, 5]
    assert not language.tokens.requires_grad
    alone = encoder.encode(["lift"])
    assert torch.equal(alone.tokens[0], language.tokens[1, :2])
    assert torch.equal(language.tokens[1, 2:], torch.zeros(3, 16))
    joined = Language.cat((alone, language[:1]))
    assert joined.mask.sum(1).tolist() == [2, 5]


def test_long_instructions_are_cut(t5: Path) -> None:
    assert FrozenTextEncoder(str(t5), max_tokens=4).encode(["push the red cup"]).mask.shape == (1, 4)


def test_no_such_encoder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No text encoder"):
        FrozenTextEncoder(str(tmp_path))


def test_instructions_read_the_same_under_autocast(t5: Path) -> None:
    plain = FrozenTextEncoder(str(t5)).encode(["push the red cup"])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(FrozenTextEncoder(str(t5)).encode(["push the red cup"]).tokens, plain.tokens)
