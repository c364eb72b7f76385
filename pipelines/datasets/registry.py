"""Readers by name: those of HARP, and those that installed packages announce as entry points of `harp.readers`."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import ValidationError

from data_schemas.errors import UserError
from pipelines.datasets.base import Reader, ReaderOptions
from pipelines.datasets.clips.reader import ClipsReader
from pipelines.datasets.rh20t.reader import RH20TReader

READERS: dict[str, type[Reader]] = {"clips": ClipsReader, "rh20t": RH20TReader}
"""Of HARP; no other package can take their names."""


def get_reader(name: str, options: Mapping[str, Any] | ReaderOptions, dataset: str | None = None) -> Reader:
    """A reader with its options.

    Args:
        name: a key of `READERS`, or of an entry point.
        options: of the reader; keys it does not know are refused.
        dataset: name of the data set in tables; the reader's name by default.

    Raises:
        UserError: no such reader, one that cannot be loaded, or options it does not take.
    """
    return _reader(name)(check_options(name, options), dataset or name)


def check_options(name: str, options: Mapping[str, Any] | ReaderOptions) -> ReaderOptions:
    """The options of a reader with its defaults filled in; raises `UserError` as `get_reader` does."""
    kind = _reader(name).options_type
    if isinstance(options, kind):
        return options
    try:
        return kind.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"Option '{where}' of the {name} reader: {first['msg'].lower()}; "
            f"it takes {', '.join(kind.model_fields)}."
        ) from None


def _reader(name: str) -> type[Reader]:
    if name in READERS:
        return READERS[name]
    found = {entry.name: entry for entry in entry_points(group="harp.readers")}
    if name not in found:
        known = ", ".join(sorted({*READERS, *found}))
        raise UserError(f"There is no reader '{name}': choose one of {known}.")
    return _loaded(found[name])


def _loaded(entry: EntryPoint) -> type[Reader]:
    try:
        kind = entry.load()
    except (ImportError, AttributeError) as error:
        raise UserError(f"The reader '{entry.name}' ({entry.value}) cannot be loaded: {error}.") from error
    if not (isinstance(kind, type) and issubclass(kind, Reader)):
        raise UserError(
            f"The reader '{entry.name}' ({entry.value}) is no subclass of pipelines.datasets.base.Reader: "
            "docs/datasets.md shows one."
        )
    return kind
