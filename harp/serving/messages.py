"""openpi's messages: msgpack with NumPy arrays, written as `openpi-client` writes them and read strictly.

An array travels as a map of bytes keys, `__ndarray__` with `data`, `dtype` and `shape`; a NumPy scalar as
`__npgeneric__` with `data` and `dtype`. Nothing is ever unpickled: only booleans and plain numbers are types, so an
array of objects cannot be named. A message comes from whoever reached the port, so its cost is bounded before it is
paid: the sizes of maps and lists and their number are limited (16 MB of empty maps would be gigabytes of Python
objects), and the bytes of an array must be exactly those that its shape asks for.
"""

import math
from typing import Any

import msgpack
import numpy as np

from data_schemas.errors import BadInput

MAX_CONTAINERS = 64
MAX_MAP, MAX_LIST, MAX_TEXT = 64, 4096, 10_000
MAX_AXES = 8

_DTYPES = {dtype.str: dtype for dtype in map(np.dtype, ("?", *"bBhHiIqQefd"))}
"""By the name they travel under, `|u1`, `<f8`, …: booleans, integers and floats of this machine's byte order."""

_ARRAY = {b"__ndarray__", b"data", b"dtype", b"shape"}
_SCALAR = {b"__npgeneric__", b"data", b"dtype"}


def encode(content: dict[str, Any]) -> bytes:
    """A message with arrays and NumPy scalars in it, at any depth."""
    packed = msgpack.packb(content, default=_pack)
    assert packed is not None
    return packed


def decode(message: bytes | str) -> dict[Any, Any]:
    """The content of a message; arrays are read-only views of it.

    Raises:
        BadInput: `bad_message`, with what was found and what was expected.
    """
    if isinstance(message, str):
        raise _bad("a text frame", "a binary one")
    reader = _Reader()
    try:
        content = msgpack.unpackb(
            message,
            object_hook=reader.read_map,
            list_hook=reader.read_list,
            max_map_len=MAX_MAP,
            max_array_len=MAX_LIST,
            max_str_len=MAX_TEXT,
            max_ext_len=0,
        )
    except (ValueError, OverflowError) as error:
        raise _bad(f"{len(message)} bytes that do not unpack ({error})", "one msgpack map") from None
    if not isinstance(content, dict):
        raise _bad(f"a {type(content).__name__}", "a map of observation keys")
    return content


class _Reader:
    """Turns maps into arrays and scalars where they are meant as such, and counts what one message holds."""

    def __init__(self) -> None:
        self._containers = 0

    def read_map(self, content: dict[Any, Any]) -> Any:
        self._count()
        if b"__ndarray__" in content:
            return _array(content)
        if b"__npgeneric__" in content:
            return _scalar(content)
        return content

    def read_list(self, items: list[Any]) -> list[Any]:
        self._count()
        return items

    def _count(self) -> None:
        self._containers += 1
        if self._containers > MAX_CONTAINERS:
            raise _bad(
                f"more than {MAX_CONTAINERS} maps and lists",
                "images and states as NumPy arrays, not as lists",
            )


def _array(content: dict[Any, Any]) -> np.ndarray:
    if content.keys() != _ARRAY:
        raise _bad(f"an array with the keys {str(list(content))[:80]}", "data, dtype and shape")
    dtype, data, shape = _dtype(content[b"dtype"]), content[b"data"], content[b"shape"]
    if not isinstance(data, bytes):
        raise _bad(f"an array whose data are a {type(data).__name__}", "bytes")
    if not isinstance(shape, list) or len(shape) > MAX_AXES or not all(map(_is_length, shape)):
        raise _bad(f"the shape {str(shape)[:80]}", f"a list of at most {MAX_AXES} lengths")
    needed = math.prod(shape) * dtype.itemsize
    if len(data) != needed:
        raise _bad(f"an array of {len(data)} bytes", f"{needed} for {dtype} {tuple(shape)}")
    return np.frombuffer(data, dtype).reshape(shape)


def _scalar(content: dict[Any, Any]) -> np.generic:
    if content.keys() != _SCALAR or not isinstance(content[b"data"], bool | int | float):
        raise _bad("a NumPy scalar that is no number", "data and dtype")
    return _dtype(content[b"dtype"]).type(content[b"data"])


def _dtype(name: object) -> np.dtype:
    if not isinstance(name, str) or name not in _DTYPES:
        raise _bad(f"the type {str(name)[:40]!r}", f"one of {', '.join(_DTYPES)}")
    return _DTYPES[name]


def _is_length(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _bad(found: str, expected: str) -> BadInput:
    return BadInput("bad_message", f"found {found}, expected {expected}.")


def _pack(value: object) -> Any:
    if isinstance(value, np.ndarray):
        return {
            b"__ndarray__": True,
            b"data": value.tobytes(),
            b"dtype": value.dtype.str,
            b"shape": value.shape,
        }
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"cannot send a {type(value).__name__}")
