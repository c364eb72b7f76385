"""What may depend on what in HARP-LAM, and its attention against loops."""

import math

import pytest
import torch

from harp.latent_action.attention import SelfAttention
from harp.latent_action.config import LatentActionConfig
from harp.latent_action.language import Language
from harp.latent_action.model import LatentActionModel
from harp.latent_action.transformer import SpatioTemporalBlock, sinusoidal_positions

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


def test_decoder_does_not_change_while_the_codes_stay(model, language):
    """Change frame t+Δ, and with it all that the encoder computed, but not the codes: the same prediction, bit by bit."""
    z = torch.randn(B, 2, P, V)
    before = model.encode(z, language)
    decoded = model.decode(z[:, 0], before.quantized, language)
    changed = z.clone()
    changed[:, 1] += 1e-3 * torch.randn(B, P, V)
    after = model.encode(changed, language)
    assert torch.equal(before.codes, after.codes)
    assert (before.latents - after.latents).abs().min() > 0
    assert not torch.equal(before.keypoints, after.keypoints)
    assert torch.equal(model.decode(z[:, 0], after.quantized, language), decoded)
    assert torch.equal(model.decode(z[:, 0], model.vq.codebook(before.codes), language), decoded)
    others = (before.codes + 1) % CONFIG.codebook_size
    assert not torch.allclose(model.decode(z[:, 0], model.vq.codebook(others), language), decoded)


def test_decoder_reads_none_of_the_encoders_weights(model, language):
    """Replace every weight that only the encoder uses: the decoder's output for given codes stays, bit by bit."""
    condition, codes = torch.randn(B, P, V), torch.randint(8, (B, 4))
    decoded = model.decode(condition, model.vq.codebook(codes), language)
    shared = ("decoder.", "patch_up.", "action_up.", "lang_proj.", "vq.codebook.")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith(shared):
                parameter.normal_()
    assert torch.equal(model.decode(condition, model.vq.codebook(codes), language), decoded)


def test_frame_t_plus_delta_reaches_the_prediction_through_the_latents_alone(model, language):
    """With the latents held fixed, the prediction has no gradient to the future frame."""
    z = torch.randn(B, 2, P, V, requires_grad=True)
    actions = model.encode(z, language)
    prediction = model.decode(z[:, 0], actions.quantized, language).square().sum()
    through = torch.autograd.grad(prediction, z, retain_graph=True)[0][:, 1]
    assert through.abs().sum() > 0
    held = model.decode(z[:, 0], actions.quantized.detach(), language).square().sum()
    assert torch.autograd.grad(held, z)[0][:, 1].abs().sum() == 0


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
    layer, x = SelfAttention(6, 2), torch.randn(1, 4, 6)
    mask = torch.tensor([[True, True, False, True]])
    masked = brute_force_attention(layer, x[0], [[0, 1, 3]] * 4)
    torch.testing.assert_close(layer(x, mask)[0], masked)
    causal = brute_force_attention(layer, x[0], [list(range(n + 1)) for n in range(4)])
    torch.testing.assert_close(layer(x, causal=True)[0], causal)


def brute_force_attention(layer: SelfAttention, x: torch.Tensor, sees: list[list[int]]) -> torch.Tensor:
    """Token n of x (N, D) attends to the tokens `sees[n]`; loops over heads and tokens."""
    N, D = x.shape
    H, size = layer.heads, D // layer.heads
    q, k, v = (f(x).view(N, H, size) for f in (layer.to_q, layer.to_k, layer.to_v))
    out = torch.zeros(N, H, size)
    for n in range(N):
        for h in range(H):
            weights = torch.stack([q[n, h] @ k[m, h] / math.sqrt(size) for m in sees[n]]).softmax(0)
            for weight, m in zip(weights, sees[n], strict=True):
                out[n, h] += weight * v[m, h]
    return layer.to_out(out.reshape(N, D))


def test_spatio_temporal_block_equals_loops_over_samples_frames_and_tokens():
    """Spatial attention within a frame over tokens that are not padding, causal attention along each token, FFN."""
    torch.manual_seed(0)
    block = SpatioTemporalBlock(CONFIG)
    lengths, T, N, D = [5, 3], 3, 5, CONFIG.width
    x = torch.randn(2, T, N, D)
    mask = torch.arange(N)[None] < torch.tensor(lengths)[:, None]
    expected = x.clone()
    for b, length in enumerate(lengths):
        for t in range(T):
            visible = [list(range(length))] * N
            expected[b, t] += brute_force_attention(block.spatial_attn, block.norm1(expected[b, t]), visible)
        for n in range(N):
            past = [list(range(t + 1)) for t in range(T)]
            track = brute_force_attention(block.temporal_attn, block.norm2(expected[b, :, n]), past)
            expected[b, :, n] += track
    expected = expected + block.ffn(block.norm3(expected))
    torch.testing.assert_close(block(x, mask), expected, atol=1e-5, rtol=1e-5)


def test_positions_are_those_of_tokens_not_of_frames(model, language):
    """Swapping two patches changes the latents; language, appended after the positions, may be shifted by padding."""
    z = torch.randn(B, 2, P, V)
    swapped = z[:, :, [1, 0, *range(2, P)]]
    assert not torch.allclose(
        model.encode(z, language).latents, model.encode(swapped, language).latents, atol=1e-4
    )
    order = torch.randperm(5)
    shuffled = Language(language.tokens[:, order], language.mask[:, order])
    torch.testing.assert_close(
        model.encode(z, language).latents, model.encode(z, shuffled).latents, atol=1e-5, rtol=1e-4
    )


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


def univla_shapes(dim: int, depth: int, width: int, latent: int, codes: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of UniVLA's first-stage model without its frozen encoders, as its module tree gives them."""

    def linear(name: str, out: int, inner: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (out, inner), f"{name}.bias": (out,)}

    def norm(name: str, size: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (size,), f"{name}.bias": (size,)}

    def transformer(name: str, in_dim: int, attentions: list[str]) -> dict[str, tuple[int, ...]]:
        shapes = (
            norm(f"{name}.ffn.0", in_dim)
            | linear(f"{name}.ffn.1", width, in_dim)
            | norm(f"{name}.ffn.2", width)
        )
        for n in range(depth):
            block = f"{name}.transformer_blocks.{n}"
            for attention in attentions:
                shapes |= {f"{block}.{attention}.to_{part}.weight": (width, width) for part in "qkv"}
                shapes |= linear(f"{block}.{attention}.to_out.0", width, width)
            shapes |= linear(f"{block}.ffn.0", 4 * width, width) | linear(f"{block}.ffn.3", width, 4 * width)
            for index in range(len(attentions) + 1):
                shapes |= norm(f"{block}.norm{index + 1}", width)
        return shapes

    return (
        {"action_latent": (1, 1, 4, dim), "vq.codebook.weight": (codes, latent)}
        | transformer("encoder", dim, ["spatial_attn", "temporal_attn"])
        | transformer("decoder", width, ["spatial_attn"])
        | linear("decoder.out", dim, width)
        | linear("to_codebook", latent, width)
        | linear("patch_up", width, dim)
        | linear("action_up", width, latent)
        | linear("lang_proj", width, 768)
    )


def test_names_and_shapes_are_univlas():
    """At UniVLA's sizes (DINOv2-B features) its checkpoint fits but for what HARP adds."""
    with torch.device("meta"):
        ours = LatentActionModel(768, 768, LatentActionConfig()).state_dict()
    univla = univla_shapes(dim=768, depth=12, width=768, latent=128, codes=16)
    assert {name: tuple(ours[name].shape) for name in univla} == univla
    added = {name.split(".")[0] for name in ours.keys() - univla.keys()}
    assert added == {"keypoint_latent", "effector_latent", "keypoint_head", "effector_head", "vq"}
    assert ours.keys() - univla.keys() >= {"vq.steps_unused"}


def test_paper_sizes():
    with torch.device("meta"):
        model = LatentActionModel(2176, 768, LatentActionConfig())
    assert model.to_codebook.weight.shape == (128, 768)
    assert model.vq.codebook.weight.shape == (16, 128)
    assert len(model.encoder.transformer_blocks) == 12
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 2) == 206.01


def test_normalized_latents_leave_no_offset_between_queries():
    torch.manual_seed(0)
    model = LatentActionModel(V, E, CONFIG.model_copy(update={"normalize_latents": "batch"}))
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


def test_latents_of_the_change_are_the_same_for_every_picture_that_stands_still(language):
    torch.manual_seed(0)
    model = LatentActionModel(V, E, CONFIG.model_copy(update={"latents_from": "change"})).eval()
    z = torch.randn(B, 1, P, V)
    still = model.encode(z.expand(-1, 2, -1, -1), language).latents
    nothing = model.to_codebook.get_parameter("bias").expand(B, 4, 4)
    torch.testing.assert_close(still, nothing, atol=1e-5, rtol=0)
    moved = model.encode(torch.cat((z, torch.randn(B, 1, P, V)), dim=1), language).latents
    assert (moved - nothing).abs().amax((1, 2)).min() > 1e-2


def test_with_a_book_for_each_query_equal_latents_get_codes_that_say_more_than_one(language):
    """Queries that start alike change alike; one codebook then gives them one code, four books code what is left."""
    torch.manual_seed(0)
    z = torch.randn(64, 2, P, V)
    distinct = {}
    for codebooks in ("shared", "residual"):
        model = LatentActionModel(V, E, CONFIG.model_copy(update={"codebooks": codebooks})).eval()
        with torch.no_grad():
            model.action_latent.copy_(model.action_latent[:, :, :1].expand_as(model.action_latent))
        words = Language(language.tokens[:1].expand(64, -1, -1), language.mask[:1].expand(64, -1))
        model.vq.revive(model.encode(z, words).latents, torch.Generator().manual_seed(0))
        actions = model.encode(z, words)
        assert actions.codes.max() < CONFIG.codebook_size, "labels are below K in every book"
        predicted = model.decode(z[:, 0], actions.quantized, words)
        assert predicted.shape == (64, P, V)
        distinct[codebooks] = len(actions.codes.unique(dim=0))
    assert distinct["residual"] > 2 * distinct["shared"]
