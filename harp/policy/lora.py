"""LoRA by `peft`: low-rank updates of every linear layer, merged at the end and the merge verified.

OpenVLA-OFT's setting: rank 32, α 16, no dropout, on all linear layers of vision encoder, projector and language model
but the output layer. The robot-only adapters are left as they are: they are low-rank themselves and belong to stage 1.
A merge that goes wrong silently turns a working policy into one that never succeeds, so `merge_lora` compares outputs
before and after and refuses the difference.
"""

import logging
from collections.abc import Callable

import torch
from peft import LoraConfig, LoraModel
from torch import Tensor, nn

from harp.policy.prismatic import PrismaticVLA

logger = logging.getLogger(__name__)

_NAME = "default"


def add_lora(vla: PrismaticVLA, rank: int = 32, alpha: int = 16, vision: bool = True) -> LoraModel:
    """Put low-rank updates into a model, in place, and freeze everything else of it.

    Args:
        vision: also in the vision encoder, as OpenVLA-OFT has it; otherwise it stays frozen.

    Returns:
        The handle that `merge_lora` takes; train `vla` itself.
    """
    targets = [
        name
        for name, module in vla.named_modules()
        if isinstance(module, nn.Linear) and _wanted(name, vision)
    ]
    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=targets, init_lora_weights="gaussian"
    )
    return LoraModel(vla, {_NAME: config}, _NAME)


def _wanted(name: str, vision: bool) -> bool:
    if name == "language_model.lm_head" or "_adapter." in name:
        return False
    return vision or not name.startswith("vision.")


@torch.no_grad()
def merge_lora(lora: LoraModel, predict: Callable[[], Tensor], tolerance: float | None = None) -> float:
    """Fold the updates into the weights, in place, and verify that predictions stay what they were.

    Args:
        lora: from `add_lora`.
        predict: runs the policy on a fixed batch, e.g. `lambda: policy.predict(observations)`.
        tolerance: largest change, relative to the largest prediction; by default 1e-4 in float32. The eight bits of
            bfloat16 move the predictions of a deep model by up to a tenth when it is merged rightly: there the limit
            is 5e-2, or a quarter of what the updates change, if that is more.

    Returns:
        The relative change.

    Raises:
        RuntimeError: the merged model predicts something else.
    """
    model = lora.model
    was_training = model.training
    model.eval()
    before = predict().float()
    lora.disable_adapter_layers()
    effect = _change(before, predict())
    lora.enable_adapter_layers()
    dtype = next(model.parameters()).dtype
    lora.merge_and_unload()
    change = _change(before, predict())
    model.train(was_training)
    limit = max(5e-2, effect / 4) if dtype == torch.bfloat16 else 1e-4
    limit = limit if tolerance is None else tolerance
    if not change <= limit:
        raise RuntimeError(
            f"Merging LoRA changed the predictions by {change:.1e} of their size, more than {limit:.1e}: the merged model is "
            f"not the trained one. The updates themselves change them by {effect:.1e}."
        )
    logger.info("LoRA merged; predictions changed by %.1e of their size", change)
    return change


def _change(before: Tensor, after: Tensor) -> float:
    """Largest difference, relative to the largest prediction before."""
    return ((after.float() - before).abs().max() / before.abs().max().clamp(min=1e-6)).item()
