"""Standardization against torch's batch norm, and of each embodiment by itself."""

import pytest
import torch

from harp.latent_action.config import LatentActionConfig
from harp.latent_action.language import Language
from harp.latent_action.model import LatentActionModel
from harp.latent_action.normalization import EmbodimentNorm, LatentNorm


def test_equals_batch_norm_in_training_and_evaluation():
    torch.manual_seed(0)
    ours, oracle = LatentNorm(6), torch.nn.BatchNorm1d(6, affine=False)
    for _ in range(5):
        x = (3 * torch.randn(10, 6) + 2).requires_grad_()
        y = x.detach().clone().requires_grad_()
        torch.testing.assert_close(ours(x), oracle(y), atol=1e-5, rtol=1e-5)
        weights = torch.randn(10, 6)
        (ours(x) * weights).sum().backward()
        (oracle(y) * weights).sum().backward()
        torch.testing.assert_close(x.grad, y.grad, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(ours.running_var, oracle.running_var)
    torch.testing.assert_close(ours.eval()(x), oracle.eval()(y), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows_are_standardized_by_what_was_seen_before(rows):
    norm = LatentNorm(3)
    norm(2 * torch.randn(100, 3) + 5)
    before = norm.running_mean.clone()
    x = torch.randn(rows, 3)
    torch.testing.assert_close(norm(x), (x - norm.running_mean) * (norm.running_var + 1e-5).rsqrt())
    assert torch.equal(norm.running_mean, before)


def test_an_offset_between_embodiments_is_gone_and_rows_stay_in_place():
    torch.manual_seed(0)
    norm, motion = EmbodimentNorm(4), torch.randn(20, 4)
    x = torch.cat((motion, 3 * motion + 7))
    is_robot = torch.arange(40) >= 20
    order = torch.randperm(40)
    y = torch.empty_like(x)
    y[order] = norm(x[order], is_robot[order])
    torch.testing.assert_close(y[:20], y[20:], atol=1e-4, rtol=1e-4)
    for _ in range(200):
        norm(x, is_robot)
    z = norm.eval()(x, is_robot)
    torch.testing.assert_close(z[:20], z[20:], atol=1e-3, rtol=1e-3)


def test_the_model_asks_whose_transitions_they_are():
    config = LatentActionConfig(
        width=12, heads=2, encoder_blocks=1, decoder_blocks=1, latent_dim=4, normalize_latents="embodiment"
    )
    model = LatentActionModel(8, 6, config).eval()
    z, language = (
        torch.randn(2, 2, 4, 8),
        Language(torch.randn(2, 3, 6), torch.ones(2, 3, dtype=torch.bool)),
    )
    assert isinstance(model.latent_norm, EmbodimentNorm)
    model.latent_norm.robot.running_mean += 1
    latents = model.encode(z, language, torch.tensor([False, True])).latents
    as_humans = model.encode(z, language, torch.tensor([False, False])).latents
    assert torch.equal(latents[0], as_humans[0])
    torch.testing.assert_close(latents[1], as_humans[1] - (1 + 1e-5) ** -0.5, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="which transitions"):
        model.encode(z, language)
