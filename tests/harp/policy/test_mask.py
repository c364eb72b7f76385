from typing import Literal

import pytest
import torch
from transformers import LlamaModel

from harp.policy.config import LanguageModelConfig
from harp.policy.language_model import load_language_model
from harp.policy.mask import bidirectional_mask, check_bidirectional
from tests.harp.policy.tiny_policy import LANGUAGE

Attention = Literal["sdpa", "eager"]


def model(attention: Attention = "sdpa") -> LlamaModel:
    torch.manual_seed(0)
    config: LanguageModelConfig = LANGUAGE.model_copy(update={"attention": attention})
    return load_language_model(config, None).model.eval()


def slow_mask(lengths: list[int], width: int) -> torch.Tensor:
    """Token by token: a query may look at a key if the key is a token."""
    allowed = torch.zeros(len(lengths), 1, width, width, dtype=torch.bool)
    for row, length in enumerate(lengths):
        for query in range(width):
            for key in range(width):
                allowed[row, 0, query, key] = key < length
    return allowed


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_mask_equals_a_slow_loop(dtype):
    lengths = [5, 3, 1, 7]
    is_token = torch.arange(7) < torch.tensor(lengths)[:, None]
    mask = bidirectional_mask(is_token, dtype)
    assert mask.dtype == dtype
    assert torch.equal(mask == 0, slow_mask(lengths, 7))
    assert (mask[mask != 0] == torch.finfo(dtype).min).all()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@torch.no_grad()
def test_padded_batch_equals_single_sequences_with_full_attention(attention: Attention):
    llama = model(attention)
    lengths, width = [6, 4, 9], 9
    embeddings = torch.randn(3, width, LANGUAGE.width)
    is_token = torch.arange(width) < torch.tensor(lengths)[:, None]
    mask = bidirectional_mask(is_token, torch.float32)
    batch = llama(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state
    assert batch.isfinite().all()
    for row, length in enumerate(lengths):
        nothing_hidden = torch.zeros(1, 1, length, length)
        alone = llama(inputs_embeds=embeddings[row : row + 1, :length], attention_mask=nothing_hidden)
        torch.testing.assert_close(batch[row, :length], alone.last_hidden_state[0], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_sdpa_equals_eager():
    is_token = torch.arange(8) < torch.tensor([[8], [5]])
    embeddings, mask = torch.randn(2, 8, LANGUAGE.width), bidirectional_mask(is_token, torch.float32)
    sdpa, eager = (
        model(name)(inputs_embeds=embeddings, attention_mask=mask)[0] for name in ("sdpa", "eager")
    )
    torch.testing.assert_close(sdpa[0], eager[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(sdpa[1, :5], eager[1, :5], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_check_passes_where_the_mask_acts(attention: Attention, dtype):
    check_bidirectional(model(attention).to(dtype))


@pytest.mark.parametrize(("lie", "complaint"), [("causal", "stays causal"), ("all", "Padding leaks")])
def test_check_catches_a_model_that_ignores_the_mask(lie, complaint, monkeypatch):
    llama = model()
    forward = type(llama).forward

    def disobedient(self, inputs_embeds, attention_mask, **options):
        mask = None if lie == "causal" else torch.zeros_like(attention_mask)
        return forward(self, inputs_embeds=inputs_embeds, attention_mask=mask, **options)

    monkeypatch.setattr(type(llama), "forward", disobedient)
    with pytest.raises(RuntimeError, match=complaint):
        check_bidirectional(llama)
