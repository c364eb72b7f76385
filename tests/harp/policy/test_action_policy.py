import pytest
import torch
from torch import nn

from harp.policy.action_head import LatentHead, ParallelHead
from harp.policy.action_policy import LatentPolicy, Observations, ParallelPolicy, build_action_policy
from harp.policy.latent_tokens import generate_codes
from harp.policy.tokenizer import Tokens
from tests.harp.policy.tiny_policy import ACTION, observations, tiny_vla

INSTRUCTIONS = ["push it", "pick up the red block"]


def parallel(cameras: int = 1, **changes: object) -> ParallelPolicy:
    policy = build_action_policy(tiny_vla(cameras=cameras, action=ACTION.model_copy(update=changes)))
    assert isinstance(policy, ParallelPolicy)
    return policy.eval()


def count(module: nn.Module) -> float:
    return sum(p.numel() for p in module.parameters()) / 1e6


def test_parameter_counts_are_the_published_ones():
    with torch.device("meta"):
        assert count(ParallelHead(4096, 7)) == pytest.approx(151.1, abs=0.05)
        assert count(LatentHead(4096, 512, 12, 7)) == pytest.approx(12.64, abs=0.005)


@torch.no_grad()
def test_features_stand_one_before_each_slot_of_a_sequence_built_by_hand():
    """`<BOS>`, both cameras' patches, the state, the prompt, zeros, `<EOS>`, with no mask at all."""
    policy = parallel(cameras=2)
    vla, seen = policy.vla, observations(policy.vla, INSTRUCTIONS)
    features = policy.slot_features(seen)
    assert seen.proprioception is not None
    assert seen.images is not None
    assert policy.proprio_projector is not None
    for row in range(2):
        words = vla.backbone.embed_tokens(seen.prompts.ids[row, : seen.prompts.lengths[row]])
        patches = [vla.projector(vla.vision.adapted(seen.images[row : row + 1, i]))[0] for i in range(2)]
        state = policy.proprio_projector(seen.proprioception[row : row + 1])[0]
        slots = torch.zeros(12, words.shape[1])
        eos = vla.backbone.embed_tokens(torch.tensor([257]))
        sequence = torch.cat([words[:1], *patches, state, words[1:], slots, eos])[None]
        no_mask = torch.zeros(1, 1, sequence.shape[1], sequence.shape[1])
        hidden = vla.backbone(inputs_embeds=sequence, attention_mask=no_mask).last_hidden_state[0]
        last_prompt_token = 1 + 2 * 4 + 1 + len(words) - 2
        torch.testing.assert_close(features[row], hidden[last_prompt_token:-2], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_chunk_is_the_same_alone_and_in_a_padded_batch():
    policy = parallel()
    seen = observations(policy.vla, INSTRUCTIONS)
    assert seen.proprioception is not None
    assert seen.images is not None
    chunk = policy.predict(seen)
    assert chunk.shape == (2, 3, 4)
    assert torch.equal(chunk, policy.predict(seen))
    for row in range(2):
        length = int(seen.prompts.lengths[row])
        alone = Observations(
            seen.images[row : row + 1],
            Tokens(seen.prompts.ids[row : row + 1, :length], seen.prompts.lengths[row : row + 1]),
            seen.proprioception[row : row + 1],
        )
        torch.testing.assert_close(policy.predict(alone)[0], chunk[row], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_every_input_matters():
    policy = parallel(cameras=2)
    seen = observations(policy.vla, INSTRUCTIONS)
    assert seen.proprioception is not None
    assert seen.images is not None
    chunk = policy.predict(seen)
    wrist = seen.images.clone()
    wrist[:, 1] += 1
    for changed in (
        Observations(wrist, seen.prompts, seen.proprioception),
        Observations(seen.images, seen.prompts, seen.proprioception + 1),
        Observations(
            seen.images, observations(policy.vla, ["lift it", "lift it"]).prompts, seen.proprioception
        ),
        Observations(seen.images, seen.prompts, seen.proprioception, torch.zeros(2, dtype=torch.bool)),
    ):
        assert not torch.allclose(policy.predict(changed), chunk, atol=1e-3)


def test_head_takes_one_time_step_after_the_other():
    head = ParallelHead(8, 4)
    hidden = torch.randn(2, 12, 8)
    actions = head(hidden)
    hidden[:, 4:8] += torch.randn(2, 4, 8)
    changed = (head(hidden) != actions).any(-1)
    assert changed.tolist() == [[False, True, False]] * 2


def test_state_must_be_given_exactly_where_it_is_read():
    policy = parallel()
    seen = observations(policy.vla, INSTRUCTIONS)
    with pytest.raises(ValueError, match="proprioception_dim is 5"):
        policy.predict(Observations(seen.images, seen.prompts))


@torch.no_grad()
def test_latent_policy_trains_and_acts_on_the_same_embeddings():
    action = ACTION.model_copy(update={"head": "latent"})
    policy = build_action_policy(tiny_vla(action=action)).eval()
    assert isinstance(policy, LatentPolicy)
    seen = observations(policy.vla, INSTRUCTIONS)
    chunk = policy.predict(seen)
    assert chunk.shape == (2, 3, 4)
    from_own_codes = policy(seen, generated_codes(policy, seen))
    torch.testing.assert_close(from_own_codes.actions, chunk, atol=1e-5, rtol=1e-4)
    other_codes = policy(seen, 15 - generated_codes(policy, seen))
    assert not torch.allclose(other_codes.actions, chunk, atol=1e-4)


def generated_codes(policy: LatentPolicy, seen: Observations) -> torch.Tensor:
    return generate_codes(policy.vla, policy.visual(seen), seen.prompts).codes


def test_gradients_reach_head_state_and_language_model():
    policy = parallel().train()
    seen = observations(policy.vla, INSTRUCTIONS)
    policy(seen).abs().mean().backward()
    silent = {name for name, p in policy.named_parameters() if p.requires_grad and p.grad is None}
    assert silent == {"vla.language_model.lm_head.weight"}


def test_positions_keep_their_frequencies_in_a_bfloat16_policy():
    exact = tiny_vla().backbone.rotary_emb.inv_freq
    policy = build_action_policy(tiny_vla(action=ACTION, dtype="bfloat16"))
    assert {parameter.dtype for parameter in policy.parameters()} == {torch.bfloat16}
    assert torch.equal(policy.vla.backbone.rotary_emb.inv_freq, exact)
    assert exact.dtype == torch.float32
