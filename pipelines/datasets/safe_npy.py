"""Reading `.npy` files that hold pickled dictionaries, without running what an attacker may have put in.

`numpy.load(allow_pickle=True)` executes any callable a file names. Here an unpickler resolves the four names
that numpy's own arrays and scalars are made of and refuses every other; dictionaries, lists, tuples,
strings and numbers need no name at all.
"""

import pickle
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from data_schemas.errors import BadInput

_MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
_NAMES = ("ndarray", "dtype", "_reconstruct", "scalar")


class _UnsafePickle(Exception):
    pass


class _NumpyUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in _MODULES and name in _NAMES:
            # Both spellings of numpy's module are answered by the numpy that is installed.
            return super().find_class("numpy" if module == "numpy" else "numpy._core.multiarray", name)
        raise _UnsafePickle(f"{module}.{name}")


def load_npy(path: Path) -> Any:
    """The array of a file, or the object of a zero-dimensional object array (RH20T's dictionaries).

    Raises:
        BadInput: `missing_file`, `unreadable_array`, `unsafe_pickle`.
    """
    if not path.is_file():
        raise BadInput("missing_file", f"{path.name} is not there.")
    try:
        with path.open("rb") as file:
            array = _read(file)
    except _UnsafePickle as error:
        raise BadInput("unsafe_pickle", f"{path.name} names {error}, which no data file needs.") from None
    except Exception as error:  # a damaged pickle fails in as many ways as there are opcodes
        raise BadInput("unreadable_array", f"{path.name} is no .npy file: {error}.") from error
    return array.item() if array.dtype.hasobject and array.ndim == 0 else array


def _read(file: BinaryIO) -> np.ndarray:
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran_order, dtype = read_header(file)
    if not dtype.hasobject:
        file.seek(0)
        return npy.read_array(file, allow_pickle=False)
    array = _NumpyUnpickler(file, encoding="latin-1").load()
    if not isinstance(array, np.ndarray):
        raise ValueError(f"a pickled {type(array).__name__} instead of an array")
    return array.reshape(shape, order="F" if fortran_order else "C")
