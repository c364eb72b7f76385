"""Where a patch lies in its picture, as numbers that are added to its token (sinusoids of row and column).

A pretrained language model finds this in the features: ViTs carry it along, in directions of little variance. One that
begins at random looks at directions of much variance first, and learns late which patch lies where.
"""

import torch
from torch import Tensor

SLOWEST = 100.0
"""Patches a radian of the slowest wave; the fastest has one."""


def patch_positions(grid: int, width: int) -> Tensor:
    """(grid², width): for row and for column, each half of the width, sines and cosines of rising wavelength.

    Args:
        grid: patches along a side; the result's rows are in reading order, as the encoder's patches.
        width: of a token; a multiple of 4.
    """
    frequencies = SLOWEST ** -torch.linspace(0, 1, width // 4, dtype=torch.float32)
    angles = torch.arange(grid)[:, None] * frequencies
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)  # (grid, width / 2)
    rows = waves[:, None].expand(-1, grid, -1)
    columns = waves[None].expand(grid, -1, -1)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)
