"""One training step at the paper's sizes on a CPU: every block of both ViTs and of the latent action model."""

import logging
import resource
import time

import pytest
import torch

from harp.latent_action.language import Language
from harp.latent_action.model import LatentActionModel
from harp.recipes import load_stage1_recipe
from harp.vision.encoder import HarpVisionEncoder

logger = logging.getLogger(__name__)
PAIRS, TEXT_TOKENS, TEXT_DIM = 2, 12, 768


@pytest.mark.slow
def test_one_step_of_the_paper_recipe() -> None:
    """Two pairs: robot frames adapted with gradient, human frames frozen, cross-prediction, VQ and an alignment loss."""
    torch.manual_seed(0)
    config = load_stage1_recipe("paper")
    assert config.latent_action is not None
    encoder = HarpVisionEncoder(config.vision)
    model = LatentActionModel(encoder.dim, TEXT_DIM, config.latent_action)
    adapters = list(encoder.trainable_parameters())
    optimizer = torch.optim.AdamW([*adapters, *model.parameters()], lr=1e-4)
    watched = encoder.get_parameter("backbones.1.blocks.25.attn.qkv.weight")
    frozen_weights, ups = watched.clone(), [p for p in adapters if p.ndim == 2 and not p.any()]
    frames = torch.randint(0, 256, (2, 2 * PAIRS, 224, 224, 3), dtype=torch.uint8)
    language = Language(
        torch.randn(2 * PAIRS, TEXT_TOKENS, TEXT_DIM), torch.ones(2 * PAIRS, TEXT_TOKENS).bool()
    )

    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=config.training.precision == "bf16"):
        robot = encoder.adapted(encoder.preprocess(frames[0]))
        human = encoder.frozen(encoder.preprocess(frames[1]))
        z = torch.cat((robot, human)).view(2 * PAIRS, 2, encoder.num_patches, encoder.dim)
        actions = model.encode(z, language)
        partner = torch.tensor([2, 3, 0, 1])
        predicted = model.decode(z[partner, 0], actions.quantized, language)
    prediction = (predicted.float() - z[partner, 1].detach().float()).square().mean()
    vq = (actions.latents.detach() - actions.code_vectors).square().mean()
    vq = vq + 0.25 * (actions.latents - actions.code_vectors.detach()).square().mean()
    alignment = (robot.float().mean((0, 1)) - human.float().mean((0, 1))).square().mean()
    cues = (actions.keypoints.float() - 0.3).square().mean() + (
        actions.effector.float() - 0.3
    ).square().mean()
    (prediction + vq + alignment + cues).backward()
    gradients = [parameter.grad for parameter in (*adapters, *model.parameters())]
    optimizer.step()
    seconds = time.perf_counter() - start

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    logger.info("one step of %d pairs: %.0f s, peak memory %.1f GB", PAIRS, seconds, peak)
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert len(ups) == 2 * (23 + 26)
    assert all(up.any() for up in ups), "every acting adapter leaves the identity"
    assert torch.equal(watched, frozen_weights)
    assert encoder.get_parameter("backbones.0.blocks.23.attn_adapter.up.weight").grad is None
    assert peak < 24
