"""One reader per on-disk format."""

from pipelines.datasets.base import Reader, ReaderOptions, Skip
from pipelines.datasets.registry import READERS, get_reader

__all__ = ["READERS", "Reader", "ReaderOptions", "Skip", "get_reader"]
