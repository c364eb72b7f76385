"""Prediction, VQ and shared-cue losses against loops over their elements."""

import pytest
import torch

from harp.losses.pooling import pool_frames, pool_patches
from harp.losses.prediction import prediction_loss
from harp.losses.shared_cues import EPSILON, masked_huber
from harp.losses.vq import vq_loss

DELTA = 0.1


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_prediction_is_the_mean_square():
    predicted, target = random(2, 3, 4).float(), random(2, 3, 4, seed=1).float()
    expected = [
        sum(float(predicted[b, p, v] - target[b, p, v]) ** 2 for p in range(3) for v in range(4)) / 12
        for b in range(2)
    ]
    assert prediction_loss(predicted, target).tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("detach", [True, False])
def test_prediction_target_gets_gradient_only_where_asked(detach):
    predicted, target = random(2, 3, 4).requires_grad_(), random(2, 3, 4, seed=1).requires_grad_()
    prediction_loss(predicted, target, detach_target=detach).sum().backward()
    assert predicted.grad is not None
    assert (target.grad is None) == detach


def test_vq_moves_codes_and_latents_apart_from_each_other():
    latents, codes = (
        random(3, 2, 4).float().requires_grad_(),
        random(3, 2, 4, seed=1).float().requires_grad_(),
    )
    losses = vq_loss(latents, codes, commitment=0.25)
    expected = [
        1.25 * sum((latents[b, q, d] - codes[b, q, d]).item() ** 2 for q in range(2) for d in range(4)) / 8
        for b in range(3)
    ]
    assert losses.tolist() == pytest.approx(expected, rel=1e-5)
    losses.mean().backward()
    difference = (latents - codes).detach()
    torch.testing.assert_close(latents.grad, 0.25 * 2 * difference / 24)
    torch.testing.assert_close(codes.grad, -2 * difference / 24)


def huber_oracle(predicted, target, mask):
    losses = []
    for b in range(len(predicted)):
        weighted, count = 0.0, 0
        for frame in range(predicted.shape[1]):
            for k in range(predicted.shape[2]):
                if mask[b, frame, k]:
                    errors = [abs(float(predicted[b, frame, k, c] - target[b, frame, k, c])) for c in (0, 1)]
                    weighted += (
                        sum(0.5 * e * e if e <= DELTA else DELTA * (e - DELTA / 2) for e in errors) / 2
                    )
                    count += 1
        losses.append(weighted / (count + EPSILON))
    return losses


def test_masked_huber_equals_the_equation_and_ignores_what_is_hidden():
    predicted, target = 0.3 * random(4, 2, 3, 2), 0.3 * random(4, 2, 3, 2, seed=1)
    mask = torch.rand(4, 2, 3, generator=torch.Generator().manual_seed(2)) < 0.6
    mask[1] = False  # a video that shows nothing counts as 0
    losses = masked_huber(predicted, target, mask, DELTA)
    assert losses.tolist() == pytest.approx(huber_oracle(predicted, target, mask), rel=1e-9)
    assert losses[1] == 0
    target[~mask] = float("nan")
    predicted.requires_grad_()
    hidden = masked_huber(predicted, target, mask, DELTA)
    hidden.sum().backward()
    assert torch.equal(hidden, losses)
    assert predicted.grad is not None
    assert torch.isfinite(predicted.grad).all()
    assert (predicted.grad[~mask] == 0).all()


def test_masked_huber_gradient():
    target = random(2, 2, 3, 2, seed=1)
    mask = torch.ones(2, 2, 3, dtype=torch.bool)
    inputs = random(2, 2, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: masked_huber(p, target, mask, DELTA), (inputs,))


def test_pooling_is_patch_mean_then_frame_mean_then_unit_length():
    tokens = random(2, 3, 4, 5)
    pooled = pool_frames(pool_patches(tokens))
    for b in range(2):
        mean = torch.stack([tokens[b, f, p] for f in range(3) for p in range(4)]).sum(0) / 12
        torch.testing.assert_close(pooled[b], mean / mean.norm())
    assert torch.autograd.gradcheck(lambda t: pool_frames(pool_patches(t)), (tokens.requires_grad_(),))


def test_pooling_of_bfloat16_tokens_keeps_float32():
    assert pool_patches(torch.ones(2, 4, 3, dtype=torch.bfloat16)).dtype == torch.float32
