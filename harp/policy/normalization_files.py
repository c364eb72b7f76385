"""Files of statistics: the authors' `normalization.json` and OpenVLA-OFT's `dataset_statistics.json`.

Both map a data set's name to `{"action": {"q01", "q99", "mask"}, "proprio": {…}}`; OpenVLA-OFT's has minimum and maximum,
by which it normalizes on ALOHA without saying so in the file, and mean, standard deviation and counts, which nothing here
needs. A missing mask means all dimensions.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_schemas.errors import UserError
from harp.policy.config import Bounds
from harp.policy.normalization import Normalization, Statistics

AUTHORS_FILE = "normalization.json"
OFT_FILE = "dataset_statistics.json"
BOUNDS: dict[Bounds, tuple[str, str]] = {"quantiles": ("q01", "q99"), "extremes": ("min", "max")}
"""What stands at -1 and at 1."""


def write_normalization(path: Path, by_dataset: Mapping[str, Normalization]) -> None:
    """Write the authors' format; numbers keep all their digits."""
    content = {
        name: {
            key: {"q01": s.q01.tolist(), "q99": s.q99.tolist(), "mask": s.mask.tolist()}
            for key, s in (("action", entry.action), ("proprio", entry.proprioception))
            if s is not None
        }
        for name, entry in by_dataset.items()
    }
    path.write_text(json.dumps(content, indent=2))


def read_normalization(path: Path, bounds: Bounds = "quantiles") -> dict[str, Normalization]:
    """Read either file.

    Args:
        path: the file, or a folder that holds one of them.
        bounds: what the policy was trained with.

    Raises:
        UserError: no such file, or other content.
    """
    if path.is_dir():
        files = [path / name for name in (AUTHORS_FILE, OFT_FILE) if (path / name).is_file()]
        if not files:
            raise UserError(f"There is neither {AUTHORS_FILE} nor {OFT_FILE} in {path}.")
        path = files[0]
    try:
        content = json.loads(path.read_text())
        return {name: _entry(entry, *BOUNDS[bounds]) for name, entry in content.items()}
    except FileNotFoundError:
        raise UserError(f"There is no statistics file {path}.") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} does not map data sets to 'action' statistics with {' and '.join(map(repr, BOUNDS[bounds]))} "
            f"({type(error).__name__}: {error})."
        ) from None


def choose(by_dataset: Mapping[str, Normalization], dataset: str | None) -> Normalization:
    """The statistics of a data set, or the only ones there are.

    Raises:
        UserError: unknown name, or several and none chosen.
    """
    if dataset is None and len(by_dataset) == 1:
        return next(iter(by_dataset.values()))
    if dataset is None or dataset not in by_dataset:
        wanted = "none was chosen" if dataset is None else f"{dataset!r} is none of them"
        advice = ": name one by --dataset" if by_dataset else ""
        raise UserError(
            f"There are statistics of {', '.join(by_dataset) or 'no data set'}; {wanted}{advice}."
        )
    return by_dataset[dataset]


def _entry(entry: Mapping[str, Any], low: str, high: str) -> Normalization:
    def statistics(values: Mapping[str, Any]) -> Statistics:
        return Statistics.checked(values[low], values[high], values.get("mask"))

    proprio = entry.get("proprio")
    return Normalization(statistics(entry["action"]), statistics(proprio) if proprio else None)
