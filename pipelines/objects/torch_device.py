"""Where the torch annotators run, and in which precision."""

from contextlib import AbstractContextManager, ExitStack

import torch


def best_device() -> torch.device:
    """The worker's GPU, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def inference(device: torch.device) -> AbstractContextManager:
    """No gradients; on a GPU, mixed precision: bfloat16 where it has it, else float16."""
    stack = ExitStack()
    stack.enter_context(torch.inference_mode())
    if device.type == "cuda":
        dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        stack.enter_context(torch.autocast("cuda", dtype))
    return stack
