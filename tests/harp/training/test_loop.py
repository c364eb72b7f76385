"""Gradient norms of parameter groups."""

import torch
from torch import nn

from harp.training.loop import clip_groups


def test_every_group_is_clipped_on_its_own():
    large, small = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    large.grad, small.grad = torch.tensor([3.0, 4.0]), torch.tensor([0.3, 0.4])
    groups = [{"name": "a", "params": [large]}, {"name": "b", "params": [small]}]
    norms = clip_groups(torch.optim.AdamW(groups), 1.0)
    assert {name: round(norm.item(), 5) for name, norm in norms.items()} == {
        "gradient_a": 5.0,
        "gradient_b": 0.5,
    }
    torch.testing.assert_close(large.grad, torch.tensor([0.6, 0.8]))
    torch.testing.assert_close(small.grad, torch.tensor([0.3, 0.4]))


def test_norms_lie_where_parameters_do_also_those_of_groups_without_gradients():
    """The meta device stands for a GPU: tensors of two devices cannot be stacked."""
    still, moved = (nn.Parameter(torch.zeros(2, device="meta")) for _ in range(2))
    moved.grad = torch.zeros(2, device="meta")
    groups = [{"name": "still", "params": [still]}, {"name": "moved", "params": [moved]}]
    norms = clip_groups(torch.optim.AdamW(groups), 1.0)
    assert torch.stack(list(norms.values())).device.type == "meta"
