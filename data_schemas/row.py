"""Typed table rows: frozen dataclasses whose numpy arrays are stored as flat Arrow lists.

Delta Lake knows lists but no tensors. An array field is therefore stored flat, in C order, and gets its
shape back from its declaration: the first axis is free, the others are integers or the names of integer
fields of the same row.
"""

import types
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar, Self, Union, get_args, get_origin, get_type_hints

import numpy as np
import pyarrow as pa

_SCALARS: dict[type, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
}


class Array:
    """Declares an array of shape (free, *trailing): `points: Annotated[np.ndarray, Array(pa.float32(), 2)]`."""

    def __init__(self, dtype: pa.DataType, *trailing: int | str) -> None:
        self.dtype = dtype
        self.trailing = trailing

    def restore(self, flat: Any, values: dict[str, Any]) -> np.ndarray:
        """The array of a stored list, given the row's other values."""
        shape = [values[n] if isinstance(n, str) else n for n in self.trailing]
        stored = np.asarray(flat, dtype=self.dtype.to_pandas_dtype())
        size = int(np.prod(shape))
        return stored.reshape(stored.size // size if size else 0, *shape)


@dataclass(frozen=True)
class Row:
    """Base of all table rows. Subclasses set `TABLE`, the name of their table in the lake.

    Rows with array fields are declared with `eq=False`: arrays have no truth value to compare by.
    """

    TABLE: ClassVar[str]

    def to_record(self) -> dict[str, Any]:
        """Plain values that `pyarrow.Table.from_pylist` accepts with `schema()`."""
        record = {}
        for item in fields(self):
            value = getattr(self, item.name)
            record[item.name] = np.ravel(value) if isinstance(value, np.ndarray) else value
        return record

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """Inverse of `to_record`; columns that the row does not declare (such as `stage_key`) are ignored."""
        values: dict[str, Any] = {item.name: record[item.name] for item in fields(cls)}
        for name, array in cls.arrays().items():
            values[name] = array.restore(values[name], values)
        return cls(**values)

    @classmethod
    def arrays(cls) -> dict[str, Array]:
        """The row's array fields."""
        return _arrays(cls)

    @classmethod
    def schema(cls) -> pa.Schema:
        """Arrow schema of `to_record`."""
        return _schema(cls)


@cache
def _arrays(cls: type[Row]) -> dict[str, Array]:
    hints = get_type_hints(cls, include_extras=True)
    found = {}
    for item in fields(cls):
        for extra in getattr(hints[item.name], "__metadata__", ()):
            if isinstance(extra, Array):
                found[item.name] = extra
    return found


@cache
def _schema(cls: type[Row]) -> pa.Schema:
    hints = get_type_hints(cls)
    arrays = cls.arrays()
    return pa.schema(
        [
            pa.field(item.name, pa.list_(arrays[item.name].dtype))
            if item.name in arrays
            else _scalar_column(item.name, hints[item.name])
            for item in fields(cls)
        ]
    )


def _scalar_column(name: str, hint: Any) -> pa.Field:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        (inner,) = [h for h in get_args(hint) if h is not type(None)]
        return _scalar_column(name, inner).with_nullable(True)
    if origin is list:
        return pa.field(name, pa.list_(_SCALARS[get_args(hint)[0]]))
    return pa.field(name, _SCALARS[hint])
