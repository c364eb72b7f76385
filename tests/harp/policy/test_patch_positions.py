"""Positions of patches against a loop, and what a policy makes of them."""

import math
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from harp.policy.checkpoints import load_policy, write_policy
from harp.policy.config import PolicyConfig
from harp.policy.patch_positions import SLOWEST, patch_positions
from harp.policy.prismatic import load_prismatic
from harp.policy.tokenizer import load_tokenizer
from tests.harp.policy.tiny_policy import LANGUAGE, VISION, images, tiny_config, tiny_vla


def test_equal_a_loop_over_patches_and_numbers():
    grid, width = 3, 16
    found = patch_positions(grid, width)
    assert found.shape == (grid**2, width)
    for row in range(grid):
        for column in range(grid):
            expected = []
            for place in (row, column):
                angles = [place * SLOWEST ** -(k / (width // 4 - 1)) for k in range(width // 4)]
                expected += [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]
            assert found[row * grid + column].tolist() == pytest.approx(expected, abs=1e-6)


def test_added_to_every_camera_in_the_order_of_the_encoder():
    plain, placed = tiny_vla(cameras=2), tiny_vla(cameras=2, patch_positions=True)
    pictures, is_robot = images(3, cameras=2), torch.tensor([True, False, True])
    added = placed.visual_tokens(pictures, is_robot) - plain.visual_tokens(pictures, is_robot)
    expected = patch_positions(VISION.grid, LANGUAGE.width).repeat(2, 1)
    torch.testing.assert_close(added, expected.expand(3, -1, -1), rtol=0, atol=1e-5)


def test_kept_by_a_checkpoint_in_full_precision(tmp_path: Path):
    config = tiny_config(patch_positions=True, dtype="bfloat16")
    vla = load_prismatic(config)
    write_policy(vla, load_tokenizer(config), tmp_path / "policy")
    kept = load_policy(tmp_path / "policy").vla.patch_positions
    assert kept is not None
    assert torch.equal(kept, patch_positions(VISION.grid, LANGUAGE.width))
    assert "patch_positions" not in vla.state_dict()  # OpenVLA's layout knows none


def test_a_width_that_cannot_hold_them_is_refused():
    odd = LANGUAGE.model_copy(update={"width": 38})
    with pytest.raises(ValidationError, match="a width that 4 divides, not 38"):
        PolicyConfig(vision=VISION, language_model=odd, patch_positions=True)
