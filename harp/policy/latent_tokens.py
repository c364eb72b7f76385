"""Stage 2: latent actions as tokens `<ACT_i>` after the prompt (paper §3.3).

The loss is the cross-entropy of the N_q codes over the whole vocabulary, and of nothing else: UniVLA adds the end
token, the paper's equation does not. Only N_q positions per sample go through the output layer; on Llama-2 at 300
tokens that saves 99 % of the logits. Prediction chooses among the codes only, so that it always gives a valid one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache

from harp.policy.prismatic import PrismaticVLA, Sequence, gather
from harp.policy.tokenizer import Tokens, append


@dataclass(frozen=True)
class LatentLoss:
    """Shapes: B observations, Q = N_q codes."""

    loss: Tensor
    """Scalar: summed over the codes, averaged over the batch."""
    correct: Tensor
    """(B, Q) bool: the most likely code given the true codes before it is the true one."""
    hidden: Tensor
    """(B, Q, D) hidden states at the code tokens themselves, the latent-action embeddings."""
    visual_hidden: Tensor
    """(B, V, D) hidden states at the visual tokens."""

    @property
    def accuracy(self) -> Tensor:
        """(Q,) share of correct codes, code by code."""
        return self.correct.float().mean(0)


def latent_loss(vla: PrismaticVLA, visual_BVD: Tensor, prompts: Tokens, codes_BQ: Tensor) -> LatentLoss:
    """Teacher-forced loss of the codes after each prompt.

    Args:
        visual_BVD: from `vla.visual_tokens`.
        codes_BQ: int64 in 0 … K-1, the labels of stage 1.
    """
    ids = code_ids(vla, codes_BQ)
    text = append(prompts, ids, vla.policy_config.language_model.pad_id)
    sequence = vla.embed(visual_BVD, text)
    hidden = vla.hidden(sequence)
    first = sequence.num_visual + prompts.lengths  # position of the first code
    steps = torch.arange(codes_BQ.shape[1], device=ids.device)
    logits = vla.language_model.lm_head(gather(hidden, first[:, None] + steps - 1)).float()
    per_code = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids.flatten(), reduction="none")
    return LatentLoss(
        loss=per_code.view_as(ids).sum(1).mean(),
        correct=_codes(vla, logits) == codes_BQ,
        hidden=gather(hidden, first[:, None] + steps),
        visual_hidden=hidden[:, 1 : 1 + sequence.num_visual],
    )


def code_ids(vla: PrismaticVLA, codes: Tensor) -> Tensor:
    """Token ids of codes."""
    return codes + vla.policy_config.code_ids[0]


@dataclass(frozen=True)
class Generated:
    """Shapes as in `LatentLoss`."""

    codes: Tensor
    """(B, Q) int64."""
    hidden: Tensor
    """(B, Q, D) hidden states at the generated code tokens, the last one included."""
    visual_hidden: Tensor
    """(B, V, D) hidden states at the visual tokens."""


@torch.no_grad()
def generate_codes(vla: PrismaticVLA, visual_BVD: Tensor, prompts: Tokens) -> Generated:
    """Greedy, deterministic decoding of N_q codes with a key-value cache.

    Prompts of different lengths share a batch: each new token stands at its own sequence's next position while it
    comes after the padding in the cache, which the mask hides. The last code is fed back too, so that the embeddings
    are those of training (UniVLA's are one position early at inference).
    """
    sequence = vla.embed(visual_BVD, prompts)
    cache = DynamicCache(config=vla.backbone.config)
    hidden = _step(vla, sequence, cache)
    position = sequence.num_visual + prompts.lengths[:, None]  # of the next token, (B, 1)
    is_token, visual_hidden = sequence.is_token, hidden[:, 1 : 1 + sequence.num_visual]
    last, codes, embeddings = gather(hidden, position - 1), [], []
    for _ in range(vla.policy_config.codes_per_action):
        codes.append(_codes(vla, vla.language_model.lm_head(last)))
        is_token = torch.cat([is_token, is_token.new_ones(len(is_token), 1)], dim=1)
        last = vla.backbone(
            inputs_embeds=vla.backbone.embed_tokens(code_ids(vla, codes[-1])),
            attention_mask=is_token.long(),
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        embeddings.append(last)
        position = position + 1
    return Generated(torch.cat(codes, dim=1), torch.cat(embeddings, dim=1), visual_hidden)


def _step(vla: PrismaticVLA, sequence: Sequence, cache: DynamicCache) -> Tensor:
    return vla.backbone(
        inputs_embeds=sequence.embeddings,
        attention_mask=sequence.is_token.long(),
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state


def _codes(vla: PrismaticVLA, logits: Tensor) -> Tensor:
    """Most likely code of each logit vector."""
    ids = vla.policy_config.code_ids
    return logits[..., ids.start : ids.stop].argmax(-1)
