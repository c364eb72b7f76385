"""The language model: `transformers`' Llama with rows for the latent actions.

Its weights are copied tensor by tensor into a model that already has the extra rows, so that a checkpoint is never in
memory twice. New rows start at the mean of the old ones plus a hundredth of their spread: as likely as an average
token, and all different. Random rows of full spread would begin with logits larger than any real token's.
"""

from pathlib import Path

import torch
from transformers import LlamaForCausalLM
from transformers.initialization import no_init_weights

from data_schemas.errors import UserError
from harp.policy import language_attention
from harp.policy.config import LanguageModelConfig
from harp.weights.tensors import open_tensors, shape_of

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
NEW_ROW_SPREAD = 0.01


def load_language_model(config: LanguageModelConfig, folder: Path | None) -> LlamaForCausalLM:
    """The model with weights of `folder`, or random ones.

    Raises:
        UserError: tensors that are missing, of other shapes, or too many, as another architecture's are.
    """
    if folder is None:
        model = _build(config)
        if not config.tied_embeddings:
            # Layers add about 1 to what they read (see `LanguageModelConfig.llama`): smaller words would be lost in it.
            torch.nn.init.normal_(model.model.embed_tokens.weight)
        return model
    model = empty_language_model(config)
    tensors = open_tensors(folder)
    known = {name for name, _ in model.named_parameters()}
    wrong = [
        f"{name} (none; another architecture's)"
        for name in sorted(tensors.keys() - known)
        if name.startswith("model.") and not name.endswith("rotary_emb.inv_freq")  # old files hold the latter
    ]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            grows = name in (EMBEDDING, HEAD)
            expected = (config.vocabulary, *parameter.shape[1:]) if grows else tuple(parameter.shape)
            found = shape_of(tensors, name) if name in tensors else None
            if found != expected:
                wrong.append(f"{name} {expected} (found {found or 'nothing'})")
                continue
            parameter[: expected[0]].copy_(tensors[name])
            if grows:
                _fill_new_rows(parameter, config.vocabulary)
    if wrong:
        raise UserError(
            f"{folder} does not hold the configured language model: {len(wrong)} tensors differ, expected "
            f"{'; '.join(wrong[:3])}."
        )
    return model


def empty_language_model(config: LanguageModelConfig) -> LlamaForCausalLM:
    """The model without initialization, which takes minutes at seven billion weights."""
    with no_init_weights():
        return _build(config)


def _build(config: LanguageModelConfig) -> LlamaForCausalLM:
    model = LlamaForCausalLM(config.llama())
    model.set_attn_implementation(language_attention.NAME if config.attention == "sdpa" else config.attention)
    model.tie_weights()  # a no-op unless configured; construction without initialization leaves it out
    return model


def _fill_new_rows(table: torch.Tensor, old: int) -> None:
    rows = table[:old].float()
    noise = torch.randn(len(table) - old, table.shape[1], device=table.device)
    table[old:] = (rows.mean(0) + NEW_ROW_SPREAD * rows.std(0) * noise).to(table.dtype)
