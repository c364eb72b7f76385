"""What names features that were computed once: the weights that computed them."""

import hashlib
from collections.abc import Mapping

import torch


def tensors_identity(tensors: Mapping[str, torch.Tensor], about: str = "") -> str:
    """Hash of named tensors, whatever their order and device, and of what else the features depend on."""
    digest = hashlib.blake2b(about.encode(), digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
