"""Readers by name."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from data_schemas.errors import UserError
from pipelines.datasets.base import Reader, ReaderOptions
from pipelines.datasets.clips.reader import ClipsReader
from pipelines.datasets.rh20t.reader import RH20TReader

READERS: dict[str, type[Reader]] = {"clips": ClipsReader, "rh20t": RH20TReader}


def get_reader(name: str, options: Mapping[str, Any] | ReaderOptions, dataset: str | None = None) -> Reader:
    """A reader with its options.

    Args:
        name: a key of `READERS`.
        options: of the reader; keys it does not know are refused.
        dataset: name of the data set in tables; the reader's name by default.

    Raises:
        UserError: no such reader, or options it does not take.
    """
    return READERS[_known(name)](check_options(name, options), dataset or name)


def check_options(name: str, options: Mapping[str, Any] | ReaderOptions) -> ReaderOptions:
    """The options of a reader with its defaults filled in; raises `UserError` as `get_reader` does."""
    kind = READERS[_known(name)].options_type
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


def _known(name: str) -> str:
    if name not in READERS:
        raise UserError(f"There is no reader '{name}': choose one of {', '.join(sorted(READERS))}.")
    return name
