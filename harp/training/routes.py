"""Who explains whose future: the routes of self- and cross-prediction (paper §3.2)."""

from typing import Literal

import torch

PairedPrediction = Literal["cross", "self", "both"]
SinglePrediction = Literal["self", "none"]


def prediction_routes(
    num_robot: int, num_human: int, num_pairs: int, paired: PairedPrediction, single: SinglePrediction
) -> tuple[torch.Tensor, torch.Tensor]:
    """(source rows of the codes, target rows of condition and future).

    Rows count robot clips first, then human clips, pairs first in each.

    Args:
        paired: pairs explain their partner (`cross`), themselves (`self`) or both.
        single: demonstrations without partner explain themselves, or nothing.
    """
    rows = torch.arange(num_robot + num_human)
    partner = rows.clone()
    partner[:num_pairs] = rows[num_robot : num_robot + num_pairs]
    partner[num_robot : num_robot + num_pairs] = rows[:num_pairs]
    is_paired = partner != rows
    pairs = rows[is_paired]
    sources = {"cross": [(pairs, partner[pairs])], "self": [(pairs, pairs)]}
    chosen = [*sources["cross"], *sources["self"]] if paired == "both" else sources[paired]
    if single == "self":
        chosen.append((rows[~is_paired], rows[~is_paired]))
    source, target = (torch.cat(side) for side in zip(*chosen, strict=True))
    return source, target
