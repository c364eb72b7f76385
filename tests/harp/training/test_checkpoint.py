"""The newest checkpoint is the one of the highest step."""

import torch
from torch import nn

from harp.training.checkpoint import Checkpoints


class Counted(nn.Linear):
    """What a checkpoint keeps of a stage."""

    def __init__(self) -> None:
        super().__init__(1, 1)

    def trained_state(self) -> dict[str, torch.Tensor]:
        return {name: parameter.detach() for name, parameter in self.named_parameters()}

    def load_trained_state(self, state: dict[str, torch.Tensor]) -> None:
        self.load_state_dict(state)


def test_steps_are_counted_beyond_the_width_of_their_names(tmp_path):
    stage = Counted()
    optimizer = torch.optim.AdamW(stage.parameters())
    checkpoints = Checkpoints(tmp_path)
    for step in (999_950, 1_000_000):
        nn.init.constant_(stage.weight, step)
        checkpoints.save(step, stage, optimizer, {})
    nn.init.zeros_(stage.weight)
    resumed = checkpoints.load(stage, optimizer)
    assert resumed is not None
    assert (resumed["step"], stage.weight.item()) == (1_000_000, 1_000_000)
    assert [path.name for path in tmp_path.iterdir()] == ["step-1000000"]
