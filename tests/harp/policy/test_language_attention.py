"""Attention of the language model is that of `transformers`, whatever the type, the mask and the number of key heads."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import DynamicCache, LlamaForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from harp.policy import language_attention
from harp.policy.language_attention import NAME
from harp.policy.language_model import load_language_model
from harp.policy.mask import bidirectional_mask, check_bidirectional
from tests.harp.policy.tiny_policy import LANGUAGE

B, N, IMPLEMENTATIONS = 3, 11, (NAME, "sdpa", "eager")


@pytest.fixture(params=[4, 2], ids=["as many key heads", "half as many key heads"])
def model(request: pytest.FixtureRequest) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LANGUAGE.model_copy(update={"heads": 4, "kv_heads": request.param})
    return load_language_model(config, None).eval()


def masks() -> dict[str, torch.Tensor | None]:
    is_token = torch.arange(N) < torch.tensor([[N], [N - 4], [N - 1]])
    return {
        "none": None,
        "padding": is_token.long(),
        "bidirectional": bidirectional_mask(is_token, torch.float32),
    }


def hidden_and_gradient(
    model: LlamaForCausalLM, implementation: str, mask: torch.Tensor | None, bf16: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states of tokens, and what a loss on them asks of the embeddings."""
    model.set_attn_implementation(implementation)
    embeddings = torch.randn(B, N, LANGUAGE.width, generator=torch.Generator().manual_seed(1))
    embeddings.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        hidden = model.model(
            inputs_embeds=embeddings, attention_mask=mask, use_cache=False
        ).last_hidden_state.float()[:, : N - 4]
    weights = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(2))
    (gradient,) = torch.autograd.grad((hidden * weights).sum(), embeddings)
    return hidden.detach(), gradient


def test_bfloat16_on_a_cpu_leaves_the_fused_kernel_out(
    model: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under autocast as well, where queries and keys come in float32."""
    fused: list[torch.dtype] = []

    def counted(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *rest: Any, **more: Any):
        fused.append(value.dtype)
        return sdpa_attention_forward(module, query, key, value, *rest, **more)

    monkeypatch.setattr(language_attention, "sdpa_attention_forward", counted)
    for mask in masks().values():
        hidden_and_gradient(model, NAME, mask, bf16=True)
    assert not fused
    hidden_and_gradient(model, NAME, None, bf16=False)
    assert fused == [torch.float32] * LANGUAGE.depth


@pytest.mark.parametrize("name", ["none", "padding", "bidirectional"])
def test_it_is_as_exact_as_the_others(model: LlamaForCausalLM, name: str) -> None:
    mask = masks()[name]
    exact = hidden_and_gradient(model, "eager", mask, bf16=False)
    for mine, eager in zip(hidden_and_gradient(model, NAME, mask, bf16=False), exact, strict=True):
        torch.testing.assert_close(mine, eager, rtol=1e-4, atol=1e-5)
    errors = {
        implementation: [
            (found - right).square().mean().sqrt().item()
            for found, right in zip(
                hidden_and_gradient(model, implementation, mask, bf16=True), exact, strict=True
            )
        ]
        for implementation in IMPLEMENTATIONS
    }
    for place in (0, 1):
        assert 0 < errors[NAME][place] < 1.5 * errors["sdpa"][place]
        assert errors[NAME][place] < 1.5 * errors["eager"][place]


def test_later_tokens_and_padding_have_no_say_where_they_must_not(model: LlamaForCausalLM) -> None:
    model.bfloat16()
    check_bidirectional(model.model)


@torch.no_grad()
def test_tokens_one_at_a_time_over_a_cache_give_what_all_at_once_do(model: LlamaForCausalLM) -> None:
    model.bfloat16()
    ids = torch.randint(0, 200, (B, N), generator=torch.Generator().manual_seed(0))
    whole = model(input_ids=ids, use_cache=False).logits.float()
    cache = DynamicCache(config=model.config)
    first = model(input_ids=ids[:, :5], past_key_values=cache, use_cache=True).logits
    rest = [
        model(input_ids=ids[:, [place]], past_key_values=cache, use_cache=True).logits
        for place in range(5, N)
    ]
    found = torch.cat([first, *rest], dim=1).float()
    assert (found - whole).abs().max() < 0.05 * whole.abs().max()
