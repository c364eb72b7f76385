"""A stage-1 step as one writes it first: every frame of every stream runs through the ViT in every step, the
instructions are encoded anew, and attention is softmax(q kᵀ / √d) v, matrix by matrix.

Losses and sizes are those of HARP's own step, whose module it calls.
"""

import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

import torch

from harp.data.batch import Stage1Batch
from harp.losses.pooling import pool_patches
from harp.training.stage import StepOutput
from harp.training.stage1_module import Stage1


def straightforward_step(stage: Stage1, batch: Stage1Batch) -> StepOutput:
    """Forward pass of one step."""
    with unfused_attention():
        stage.text.forget()
        return stage(recomputed(stage, batch), stage.count(batch))


def recomputed(stage: Stage1, batch: Stage1Batch) -> Stage1Batch:
    """The batch with its frozen features computed from the frames."""
    assert batch.human_frames is not None
    assert batch.human_context_frames is not None
    B = batch.num_pairs
    humans = _frozen(stage, batch.human_frames).unflatten(0, (-1, 2))
    robots = _frozen(stage, batch.robot_frames[: 2 * B]).unflatten(0, (-1, 2))
    human_context = _frozen(stage, batch.human_context_frames).unflatten(0, (B, -1))
    robot_context = _frozen(stage, batch.robot_frames[2 * len(batch.robot_ids) :]).unflatten(0, (B, -1))
    return replace(
        batch,
        human_tokens=humans,
        human_context_tokens=human_context,
        human_pooled=pool_patches(torch.cat((humans[:B], human_context), dim=1)),
        robot_frozen_pooled=pool_patches(torch.cat((robots, robot_context), dim=1)),
    )


def _frozen(stage: Stage1, frames: torch.Tensor) -> torch.Tensor:
    return stage.encoder.frozen(stage.encoder.preprocess(frames))


@contextmanager
def unfused_attention() -> Generator[None]:
    """The models' attention, replaced."""
    with (
        patch("harp.vision.vit.attention", _attention),
        patch("harp.latent_action.attention.attention", _attention),
    ):
        yield


def _attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    causal: bool = False,
) -> torch.Tensor:
    logits = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    if causal:
        future = torch.ones(logits.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        logits = logits.masked_fill(future, -torch.inf)
    return logits.softmax(-1).to(v.dtype) @ v
