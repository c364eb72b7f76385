"""The attention mask of stage 3: every token attends to every token, nobody attends to padding.

Parallel decoding needs action slots that see each other. OpenVLA-OFT gets this from a forked `transformers`; run on
the stock library its slots silently become causal and success halves. Here the mask is an explicit 4-D tensor that
`transformers` passes on untouched, to SDPA and eager attention alike, and `check_bidirectional` measures on the model
itself that it acts. Rows of padding attend to all tokens too, as in OpenVLA-OFT: a row that attends to nothing would
be NaN. Flash attention takes no 4-D mask and is not offered.
"""

import torch
from torch import Tensor
from transformers import LlamaModel

_NUM_TOKENS, _NUM_PADS = 6, 2


def bidirectional_mask(is_token_BN: Tensor, dtype: torch.dtype) -> Tensor:
    """Additive mask (B, 1, N, N): 0 where the key is a token, the type's lowest number where it is padding."""
    B, N = is_token_BN.shape
    blocked = torch.zeros(B, 1, 1, N, dtype=dtype, device=is_token_BN.device)
    blocked.masked_fill_(~is_token_BN[:, None, None], torch.finfo(dtype).min)
    return blocked.expand(B, 1, N, N)


@torch.no_grad()
def check_bidirectional(model: LlamaModel) -> None:
    """Assert on the model itself that later tokens influence earlier ones and that padding influences none.

    One forward of three sequences of eight embeddings: as they are, with all tokens but the first changed, with the
    padding changed. Costs one short batch, so it runs whenever a policy is loaded.

    Raises:
        RuntimeError: the attention implementation does not honour the mask.
    """
    weight = model.embed_tokens.weight
    generator = torch.Generator().manual_seed(0)
    shape = (_NUM_TOKENS + _NUM_PADS, weight.shape[1])
    base = torch.randn(shape, generator=generator)
    later, padding = base.clone(), base.clone()
    # All of them: what one token adds may be less than bfloat16 resolves where weights are small.
    later[1:_NUM_TOKENS] = torch.randn(_NUM_TOKENS - 1, shape[1], generator=generator)
    padding[_NUM_TOKENS:] = torch.randn(_NUM_PADS, shape[1], generator=generator)
    embeddings = torch.stack([base, later, padding]).to(weight)
    is_token = (torch.arange(shape[0], device=weight.device) < _NUM_TOKENS).expand(3, -1)
    was_training = model.training
    model.eval()
    hidden = model(
        inputs_embeds=embeddings,
        attention_mask=bidirectional_mask(is_token, weight.dtype),
        use_cache=False,
    ).last_hidden_state.float()
    model.train(was_training)
    change_later = _relative_change(hidden[1, :1], hidden[0, :1])
    change_padding = _relative_change(hidden[2, :_NUM_TOKENS], hidden[0, :_NUM_TOKENS])
    # Equal rows of a batch may round differently here and there; a real influence moves every number.
    tolerance = max(2e-6, torch.finfo(weight.dtype).eps / 4)
    if change_later <= tolerance:
        raise RuntimeError(
            "The language model stays causal under the bidirectional mask: a later token changes no earlier one "
            f"(attention {model.config._attn_implementation!r}); use 'sdpa' or 'eager'."
        )
    if change_padding > tolerance:
        raise RuntimeError(
            f"Padding leaks through the bidirectional mask (relative change {change_padding:.1e}, attention "
            f"{model.config._attn_implementation!r}); use 'sdpa' or 'eager'."
        )


def _relative_change(found: Tensor, before: Tensor) -> float:
    return ((found - before).abs().mean() / before.abs().mean()).item()
