"""Tensors of a checkpoint, by name, each read from disk when it is asked for.

Safetensors files, folders of shards and torch files look alike. Only what is asked for is read: a vision encoder
inside a 16 GB policy costs its own size. Torch files are opened with `weights_only=True`, so that no code in them
runs; nested dictionaries get dotted names (`model.vision_backbone.…`).
"""

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from data_schemas.errors import UserError

TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")


def open_tensors(path: Path) -> Mapping[str, Tensor]:
    """Names and tensors of a safetensors or torch file, or of all safetensors files in a folder.

    Raises:
        UserError: nothing there, another format, or a damaged file.
    """
    if path.is_dir():
        files = sorted(path.glob("*.safetensors"))
        if not files:
            raise UserError(f"There is no safetensors file in {path}.")
        return _SafeTensors(files)
    if not path.is_file():
        raise UserError(f"There is no checkpoint {path}.")
    if path.suffix == ".safetensors":
        return _SafeTensors([path])
    if path.suffix in TORCH_SUFFIXES:
        return _torch_tensors(path)
    raise UserError(f"{path} is no checkpoint: expected .safetensors or {', '.join(TORCH_SUFFIXES)}.")


def shape_of(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    """Shape of a tensor of `open_tensors`, which is not read for it where the file says it beforehand."""
    return tensors.shape(name) if isinstance(tensors, _SafeTensors) else tuple(tensors[name].shape)


class _SafeTensors(Mapping[str, Tensor]):
    def __init__(self, files: list[Path]) -> None:
        self._file_of: dict[str, Any] = {}
        for path in files:
            try:
                file = safe_open(path, framework="pt")
            except (SafetensorError, OSError) as error:
                raise UserError(f"{path} is damaged or no safetensors file ({error}).") from error
            self._file_of |= dict.fromkeys(file.keys(), file)

    def __getitem__(self, name: str) -> Tensor:
        return self._file_of[name].get_tensor(name)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._file_of[name].get_slice(name).get_shape())

    def __iter__(self) -> Iterator[str]:
        return iter(self._file_of)

    def __len__(self) -> int:
        return len(self._file_of)


def _torch_tensors(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).strip().splitlines()
        raise UserError(
            f"{path} holds more than tensors, or is damaged, and is not read "
            f"({reason[0] if reason else 'empty'}); convert it to safetensors where it comes from."
        ) from error
    tensors: dict[str, Tensor] = {}
    _flatten(content, "", tensors)
    return tensors


def _flatten(content: object, prefix: str, tensors: dict[str, Tensor]) -> None:
    if isinstance(content, Tensor):
        tensors[prefix] = content
    elif isinstance(content, Mapping):
        for name, value in content.items():
            _flatten(value, f"{prefix}.{name}" if prefix else str(name), tensors)
