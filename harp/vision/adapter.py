"""The robot-only adapter (paper A.3): a residual bottleneck that acts on robot images and leaves human ones alone.

`x + up(GELU(down(x)))` with `up` zero, so that training starts at exactly the frozen encoder. Images are chosen by
index and not by a mask that multiplies: human rows are copied, so that they stay bit-equal whatever the adapter has
learned, and the adapter's arithmetic is spent on robot rows only.
"""

from torch import Tensor, nn

AdaptedRows = Tensor | slice | None
"""Images of a batch that are adapted: indices (int64), all (`slice(None)`) or none (`None`)."""

DOWN_STD = 0.02


class RobotAdapter(nn.Module):
    """Residual bottleneck over tokens.

    Args:
        width: of the tokens.
        hidden: of the bottleneck.
        first_token: tokens before it are never adapted (the class token).
    """

    def __init__(self, width: int, hidden: int, first_token: int) -> None:
        super().__init__()
        self.first_token = first_token
        self.down = nn.Linear(width, hidden)
        self.up = nn.Linear(hidden, width)
        nn.init.normal_(self.down.weight, std=DOWN_STD)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x_BND: Tensor, rows: AdaptedRows) -> Tensor:
        if rows is None:
            return x_BND
        if not isinstance(rows, slice):
            out_BND = x_BND.clone()
            out_BND[rows] = self(x_BND[rows], slice(None))
            return out_BND
        # Computed for the class token too and then taken away there: cheaper than cutting and joining the tokens.
        change_BND = self.up(nn.functional.gelu(self.down(x_BND)))
        change_BND[:, : self.first_token].zero_()
        return x_BND + change_BND


def adapted_rows(adapted_B: Tensor) -> AdaptedRows:
    """Rows of a boolean mask over the images of a batch, found once per forward."""
    rows = adapted_B.nonzero()[:, 0]
    if len(rows) == len(adapted_B):
        return slice(None)
    return rows if len(rows) else None
