"""What may depend on what in HARP-LAM, and its attention against loops."""

import math

import pytest
import torch

from harp.latent_action.attention import SelfAttention
from harp.latent_action.config import LatentActionConfig
from harp.latent_action.language import Language
from harp.latent_action.model import LatentActionModel
from harp.latent_action.transformer import sinusoidal_positions

B, P, V, E = 3, 6, 10, 8
CONFIG = LatentActionConfig(
    width=16, heads=2, encoder_blocks=2, decoder_blocks=2, latent_dim=4, codebook_size=8, num_keypoints=3
)


@pytest.fixture
def model() -> LatentActionModel:
    torch.manual_seed(0)
    model = LatentActionModel(V, E, CONFIG).eval()
    model.vq.revive(torch.randn(64, CONFIG.latent_dim), torch.Generator().manual_seed(0))
    return model


@pytest.fixture
def language() -> Language:
    mask = torch.tensor([[True] * 5, [True, True, True, False, False], [True] + [False] * 4])
    return Language(torch.randn(B, 5, E), mask)


def test_shapes(model, language):
    z = torch.randn(B, 2, P, V)
    actions = model.encode(z, language)
    assert actions.latents.shape == actions.quantized.shape == (B, 4, 4)
    assert actions.codes.shape == (B, 4)
    assert actions.keypoints.shape == (B, 2, 3, 2)
    assert actions.effector.shape == (B, 2, 2)
    assert model.decode(z[:, 0], actions.quantized, language).shape == (B, P, V)


def test_batch_equals_one_by_one_whatever_the_padding(model, language):
    z = torch.randn(B, 2, P, V)
    together = model.encode(z, language)
    decoded = model.decode(z[:, 0], together.quantized, language)
    for b in range(B):
        length = int(language.mask[b].sum())
        alone_language = Language(language.tokens[b : b + 1, :length], language.mask[b : b + 1, :length])
        alone = model.encode(z[b : b + 1], alone_language)
        torch.testing.assert_close(together.latents[b], alone.latents[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(together.keypoints[b], alone.keypoints[0], atol=1e-5, rtol=1e-4)
        alone_decoded = model.decode(z[b : b + 1, 0], alone.quantized, alone_language)
        torch.testing.assert_close(decoded[b], alone_decoded[0], atol=1e-5, rtol=1e-4)


def test_first_frame_does_not_see_the_second_but_the_codes_see_both(model, language):
    z = torch.randn(B, 2, P, V)
    before = model.encode(z, language)
    later, earlier = z.clone(), z.clone()
    later[:, 1] = torch.randn(B, P, V)
    earlier[:, 0] = torch.randn(B, P, V)
    changed = model.encode(later, language)
    torch.testing.assert_close(before.keypoints[:, 0], changed.keypoints[:, 0])
    torch.testing.assert_close(before.effector[:, 0], changed.effector[:, 0])
    assert not torch.allclose(before.keypoints[:, 1], changed.keypoints[:, 1])
    assert not torch.allclose(before.latents, changed.latents)
    assert not torch.allclose(before.latents, model.encode(earlier, language).latents)


def test_decoder_knows_of_the_future_only_by_the_codes(model, language):
    """Change frame t+Δ, and with it all that the encoder computed, but keep the codes: same prediction."""
    z, other = torch.randn(B, 2, P, V), torch.randn(B, 2, P, V)
    codes = model.encode(z, language).codes
    model.encode(other, language)
    first = model.decode(z[:, 0], model.vq.codebook(codes), language)
    second = model.decode(z[:, 0], model.encode(z, language).quantized, language)
    torch.testing.assert_close(first, second)
    swapped = model.decode(z[:, 0], model.vq.codebook((codes + 1) % 8), language)
    assert not torch.allclose(first, swapped)


def test_gradients_reach_every_part(model, language):
    z = torch.randn(B, 2, P, V, requires_grad=True)
    actions = model.encode(z, language)
    loss = model.decode(z[:, 0], actions.quantized, language).square().mean()
    loss = loss + actions.keypoints.mean() + actions.effector.mean() + actions.code_vectors.square().mean()
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.action_latent.grad.abs().sum() > 0


def test_attention_equals_loops_over_heads_and_tokens():
    torch.manual_seed(0)
    N, D, H = 4, 6, 2
    layer = SelfAttention(D, H)
    x = torch.randn(1, N, D)
    mask = torch.tensor([[True, True, False, True]])
    q, k, v = (f(x)[0].view(N, H, D // H) for f in (layer.to_q, layer.to_k, layer.to_v))
    for causal in (False, True):
        expected = torch.zeros(N, H, D // H)
        for n in range(N):
            for h in range(H):
                keys = [m for m in range(N) if (m <= n if causal else mask[0, m])]
                scores = torch.stack([q[n, h] @ k[m, h] / math.sqrt(D // H) for m in keys]).softmax(0)
                expected[n, h] = sum(s * v[m, h] for s, m in zip(scores, keys, strict=True))
        out = layer(x, None if causal else mask, causal=causal)
        torch.testing.assert_close(out[0], layer.to_out(expected.reshape(N, D)))


def test_bfloat16_attention_keeps_its_type_and_value():
    torch.manual_seed(0)
    layer, x = SelfAttention(8, 2), torch.randn(2, 5, 8)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), layer(x), atol=2e-2, rtol=2e-2)


def test_positions_are_sines_and_cosines():
    encoding = sinusoidal_positions(5, 6, torch.zeros(1))
    assert encoding[3, 2].item() == pytest.approx(math.sin(3 / 10_000 ** (2 / 6)), abs=1e-6)
    assert encoding[3, 3].item() == pytest.approx(math.cos(3 / 10_000 ** (2 / 6)), abs=1e-6)


def test_sub_modules_have_univlas_names():
    names = set(LatentActionModel(V, E, CONFIG).state_dict())
    expected = {
        "action_latent",
        "to_codebook.weight",
        "vq.codebook.weight",
        "patch_up.weight",
        "action_up.weight",
        "lang_proj.weight",
        "encoder.ffn.1.weight",
        "encoder.transformer_blocks.0.spatial_attn.to_q.weight",
        "encoder.transformer_blocks.1.temporal_attn.to_out.0.bias",
        "encoder.transformer_blocks.1.ffn.3.weight",
        "encoder.transformer_blocks.1.norm3.weight",
        "decoder.transformer_blocks.1.spatial_attn.to_v.weight",
        "decoder.out.weight",
    }
    assert expected <= names


def test_paper_sizes():
    with torch.device("meta"):
        model = LatentActionModel(2176, 768, LatentActionConfig())
    assert model.to_codebook.weight.shape == (128, 768)
    assert model.vq.codebook.weight.shape == (16, 128)
    assert len(model.encoder.transformer_blocks) == 12


def test_normalized_latents_leave_no_offset_between_queries():
    torch.manual_seed(0)
    model = LatentActionModel(V, E, CONFIG.model_copy(update={"normalize_latents": True}))
    z, language = (
        torch.randn(16, 2, P, V),
        Language(torch.randn(16, 3, E), torch.ones(16, 3, dtype=torch.bool)),
    )
    latents = model.encode(z, language).latents
    torch.testing.assert_close(latents.mean(0), torch.zeros(4, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(latents.std(0, correction=0), torch.ones(4, 4), atol=0.05, rtol=0)
    alone = model.eval().encode(z[:1], language[:1]).latents
    torch.testing.assert_close(alone[0], model.encode(z, language).latents[0], atol=1e-5, rtol=1e-4)


def test_residual_decoder_begins_by_copying_its_condition():
    model = LatentActionModel(V, E, CONFIG.model_copy(update={"residual_decoder": True}))
    z, language = torch.randn(B, P, V), Language(torch.randn(B, 3, E), torch.ones(B, 3, dtype=torch.bool))
    assert torch.equal(model.decode(z, torch.randn(B, 4, 4), language), z)
