from dataclasses import replace

import pytest
import torch
from torch import nn

from harp.policy.action_policy import ParallelPolicy, build_action_policy
from harp.policy.lora import add_lora, merge_lora
from tests.harp.policy.tiny_policy import ACTION, observations, tiny_vla


def adapted_policy(vision: bool = True, dtype: torch.dtype = torch.float32):
    policy = build_action_policy(tiny_vla(action=ACTION)).eval()
    assert isinstance(policy, ParallelPolicy)
    lora = add_lora(policy.vla, rank=4, alpha=8, vision=vision)
    seen = observations(policy.vla, ["push it", "lift the cup"])
    assert seen.images is not None
    assert seen.proprioception is not None
    seen = replace(seen, images=seen.images.to(dtype), proprioception=seen.proprioception.to(dtype))
    return policy.to(dtype), lora, seen


def train_updates(policy: ParallelPolicy) -> None:
    torch.manual_seed(3)
    for name, parameter in policy.vla.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.3)


def test_updates_start_at_nothing_and_sit_on_every_linear_layer_but_output_and_adapters():
    plain = build_action_policy(tiny_vla(action=ACTION)).eval()
    policy, _, seen = adapted_policy()
    torch.manual_seed(0)
    policy.action_head.load_state_dict(plain.action_head.state_dict())
    assert policy.proprio_projector is not None
    assert plain.proprio_projector is not None
    policy.proprio_projector.load_state_dict(plain.proprio_projector.state_dict())
    assert torch.equal(policy.predict(seen), plain.predict(seen))
    linear = {name for name, module in plain.vla.named_modules() if isinstance(module, nn.Linear)}
    expected = {name for name in linear if "_adapter." not in name and name != "language_model.lm_head"}
    trained = {name for name, p in policy.vla.named_parameters() if p.requires_grad}
    assert {name.partition(".lora_")[0] for name in trained} == expected
    assert all(p.requires_grad for p in policy.action_head.parameters())


def test_vision_can_be_left_out():
    policy, _, _ = adapted_policy(vision=False)
    trained = {name for name, p in policy.vla.named_parameters() if p.requires_grad}
    assert trained
    assert not any(name.startswith("vision.") for name in trained)


def test_merged_policy_predicts_the_same_with_its_plain_layers():
    policy, lora, seen = adapted_policy()
    before_training = policy.predict(seen)
    train_updates(policy)
    trained = policy.predict(seen)
    assert not torch.allclose(trained, before_training, atol=1e-2)
    change = merge_lora(lora, lambda: policy.predict(seen))
    assert change < 1e-4
    torch.testing.assert_close(policy.predict(seen), trained, atol=1e-4, rtol=1e-4)
    assert policy.vla.state_dict().keys() == tiny_vla(action=ACTION).state_dict().keys()


@pytest.mark.parametrize(("merged", "is_right"), [(0.9, True), (0.7, False)])
def test_a_merge_in_bfloat16_is_judged_against_what_the_updates_change(merged, is_right):
    _, lora, _ = adapted_policy(dtype=torch.bfloat16)
    # With the updates, without them, and merged.
    predictions = iter([torch.tensor([1.0]), torch.tensor([0.0]), torch.tensor([merged])])
    if is_right:
        assert merge_lora(lora, lambda: next(predictions)) == pytest.approx(0.1)
        return
    with pytest.raises(RuntimeError, match=r"by 3\.0e-01 of their size, more than 2\.5e-01"):
        merge_lora(lora, lambda: next(predictions))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_merge_that_changes_predictions_is_refused(monkeypatch, dtype):
    policy, lora, seen = adapted_policy(dtype=dtype)
    train_updates(policy)
    monkeypatch.setattr(type(lora), "merge_and_unload", type(lora).unload)  # drops the updates instead
    with pytest.raises(RuntimeError, match="Merging LoRA changed the predictions"):
        merge_lora(lora, lambda: policy.predict(seen))
