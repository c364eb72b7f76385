import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from data_schemas.errors import UserError
from harp.policy.config import POLICIES, LanguageModelConfig
from harp.policy.language_model import load_language_model
from harp.policy.tokenizer import load_tokenizer
from harp.weights import resolve
from harp.weights.smollm2_gguf import restore_rotary_order
from tests.harp.policy.tiny_policy import LANGUAGE


@pytest.mark.parametrize("tied", [True, False])
def test_pretrained_weights_keep_their_logits_and_new_rows_are_average_ones(tmp_path, tied):
    config = LANGUAGE.model_copy(update={"tied_embeddings": tied, "rope_theta": 500.0})
    torch.manual_seed(0)
    original = LlamaForCausalLM(_published(config)).eval()
    state = {
        name: tensor for name, tensor in original.state_dict().items() if not (tied and "lm_head" in name)
    }
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded = load_language_model(config, tmp_path).eval()
    ids = torch.randint(0, 258, (2, 9))
    with torch.no_grad():
        expected, found = original(ids).logits, loaded(ids).logits
    torch.testing.assert_close(found[..., :258], expected)
    table = loaded.model.embed_tokens.weight.detach()
    assert table.shape[0] == 258 + 64
    torch.testing.assert_close(table[258:].mean(0), table[:258].mean(0), atol=1e-3, rtol=0)
    assert len(table[258:].unique(dim=0)) == 64
    assert (loaded.lm_head.weight is loaded.model.embed_tokens.weight) == tied


def test_random_weights_keep_the_size_of_what_they_are_multiplied_with():
    """At the 0.02 of large models a width of 128 begins with attention that tells nothing apart."""
    torch.manual_seed(0)
    model = load_language_model(POLICIES["tiny"].language_model, None)
    weights = dict(model.named_parameters())
    x = torch.randn(1000, 128)
    for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
        assert 0.9 < (x @ weights[f"model.layers.0.self_attn.{name}.weight"].T).std() < 1.1


def test_other_sizes_are_named(tmp_path):
    original = LlamaForCausalLM(_published(LANGUAGE))
    save_file(dict(original.state_dict()), tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"layers.0.mlp.gate_proj.weight \(64, 32\) \(found \(48, 32\)\)"):
        load_language_model(LANGUAGE.model_copy(update={"mlp_width": 64}), tmp_path)


def test_weights_of_another_architecture_are_named(tmp_path):
    """Qwen2 has Llama's names, and biases besides."""
    state = dict(LlamaForCausalLM(_published(LANGUAGE)).state_dict())
    state["model.layers.0.self_attn.q_proj.bias"] = torch.ones(32)
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"1 tensors differ, .*q_proj\.bias \(none"):
        load_language_model(LANGUAGE, tmp_path)


def _published(config: LanguageModelConfig) -> LlamaConfig:
    values = config.llama().to_dict() | {"vocab_size": config.vocabulary, "pad_token_id": None}
    return LlamaConfig(**values)


def test_rotary_order_is_the_inverse_of_llama_cpps():
    heads, half, columns = 3, 4, 5
    weight = np.arange(heads * 2 * half * columns).reshape(-1, columns)
    permuted = np.empty_like(weight)
    for head in range(heads):
        for i in range(half):
            for part in range(2):  # the two halves of a pair, side by side
                permuted[head * 2 * half + 2 * i + part] = weight[head * 2 * half + part * half + i]
    assert np.array_equal(restore_rotary_order(permuted, heads), weight)


@pytest.mark.slow
def test_smollm2_knows_a_capital():
    try:
        folder = resolve("smollm2-135m")
    except UserError as error:
        pytest.skip(str(error))
    config = POLICIES["smollm2-135m"]
    model = load_language_model(config.language_model, folder).eval()
    tokenizer = load_tokenizer(config)._tokenizer
    chat = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    ids = torch.tensor([tokenizer.encode(chat).ids])
    answer: list[int] = []
    for _ in range(8):
        with torch.no_grad():
            next_id = int(
                model(torch.cat([ids, torch.tensor([answer], dtype=torch.long)], dim=1))
                .logits[0, -1]
                .argmax()
            )
        answer.append(next_id)
    assert "Paris" in tokenizer.decode(answer)
    prompt = load_tokenizer(config).prompts(["push the plate"])
    assert prompt.ids[0, 0] == 1
    assert prompt.lengths[0] == 18
