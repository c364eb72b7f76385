"""Where data lie: local folders, or object stores (`s3://bucket/folder`) under the same operations.

`universal-pathlib` gives the paths of object stores the methods of `pathlib.Path`, so that the code below the entry
points does not ask which it has. What differs is in this module and in `data_schemas.whole_files`: a file that a library
wants on disk (a video, a tar) is copied there first, and a file is written on disk and then put in its place as a whole.

Credentials and the address of the store come from the environment, as for every S3 tool: AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, AWS_REGION. A URL that holds credentials is refused, since URLs are recorded.
"""

import os
import re
import shutil
import stat
import tempfile
import uuid
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import unquote_to_bytes, urlsplit

from fsspec import get_filesystem_class
from upath import UPath

from data_schemas.errors import UserError

SHORTENED_URL = re.compile(r"^([a-z][a-z0-9+.-]+):/(?=[^/])")
"""What `pathlib.Path` makes of a URL, e.g. of an argument that is a path."""

FILE_URL = re.compile(r"^file:(//(localhost)?(?=/)|(?=/[^/]))")
"""What stands before the path of a file on this machine, also in what `pathlib.Path` makes of the URL."""


def location(root: Path | str) -> Path:
    """The path of a local folder or file, also as a `file://` URL, or of one in an object store.

    Raises:
        UserError: the URL holds credentials, its kind of store is not known here, or it is a file of another machine.
    """
    if isinstance(root, UPath):
        return root
    if on_this_machine := FILE_URL.match(str(root)):
        return Path(os.fsdecode(unquote_to_bytes(str(root)[on_this_machine.end() :])))
    url = SHORTENED_URL.sub(r"\1://", str(root))
    if "://" not in url:
        return Path(root)
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise UserError(
            f"The URL of {parts.scheme}://{parts.hostname}{parts.path} holds credentials: give them in the environment, "
            "as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    if parts.scheme == "file":
        raise UserError(
            f"{url} is a file of another machine, '{parts.netloc}': expected file:///… or a plain path."
        )
    try:
        get_filesystem_class(parts.scheme)
    except (ValueError, ImportError) as error:
        raise UserError(f"{url} cannot be read or written: {error}.") from error
    # It has the methods of a Path without being one. Listings are not kept: other processes write too.
    return cast(Path, UPath(url, use_listings_cache=False))


def is_remote(path: Path) -> bool:
    """Whether a path is in an object store."""
    return isinstance(path, UPath)


def everywhere(path: Path) -> Path:
    """A path that means the same in processes that begin in other folders, as Ray's workers do."""
    return path if is_remote(path) else path.absolute()


def fingerprints(folder: Path, below: bool = False) -> dict[str, str]:
    """Name -> what changes when the file is replaced, without reading it: all that lies in a folder of an object store.

    One listing, where every look would be a request. Folders have no time of their own: theirs is always the same.

    Args:
        below: also what lies in its folders, by path, and not these themselves.
    """
    assert isinstance(folder, UPath)
    try:
        if below:
            found = cast(dict, folder.fs.find(folder.path, detail=True)).values()
        else:
            found = folder.fs.ls(folder.path, detail=True)
    except FileNotFoundError:
        return {}
    return {
        os.path.relpath(e["name"], folder.path): f"{e['size']}:{_mark(e)}"
        if e["type"] == "file"
        else "folder"
        for e in found
    }


def _mark(entry: dict[str, Any]) -> Any:
    """What changes with a file's content, by the name that its kind of store has for it."""
    return entry.get("ETag") or entry.get("etag") or entry.get("mtime")


def on_disk(path: Path) -> str | BinaryIO:
    """A file for a library that seeks in it: its path, or a nameless local copy that is gone once it is closed."""
    if not is_remote(path):
        return str(path)
    copy = tempfile.TemporaryFile()  # noqa: SIM115, whoever reads it closes it
    with path.open("rb") as source:
        shutil.copyfileobj(source, copy, 1 << 20)
    copy.seek(0)
    return cast(BinaryIO, copy)


def copy_of(sha256: str) -> Path:
    """Where the copy of a remote file of this content lies on disk: below HARP_CACHE, ~/.cache/harp by default."""
    return Path(os.environ.get("HARP_CACHE", "~/.cache/harp")).expanduser() / "files" / sha256


def keep_copy(path: Path, sha256: str) -> None:
    """Copy a remote file to `copy_of(sha256)` unless it is there; its content is for the caller to check.

    Copies are never removed here: the folder may be emptied at any time.
    """
    target = copy_of(sha256)
    if target.is_file() or not path.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with path.open("rb") as source, draft.open("wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def upload(draft: Path, path: Path) -> None:
    """Put a local file into an object store; readers see all of it or nothing."""
    assert isinstance(path, UPath)
    path.fs.put_file(str(draft), path.path)


def upload_if_absent(draft: Path, path: Path) -> bool:
    """Like `upload`, unless the name is taken already; whether it was not."""
    assert isinstance(path, UPath)
    try:
        path.fs.put_file(str(draft), path.path, mode="create")
    except FileExistsError:
        return False
    return True


class FileSizes:
    """Bytes of the regular files of one folder; one listing where every look would be a request."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._listed = str(folder), None
        if isinstance(folder, UPath):
            found = folder.fs.ls(folder.path, detail=True) if folder.exists() else []
            self._listed = {e["name"].rsplit("/", 1)[-1]: e["size"] for e in found if e["type"] == "file"}

    def get(self, name: str) -> int | None:
        """None where there is no such file; a link is none."""
        if self._listed is not None:
            return self._listed.get(name)
        try:
            # A path object per file takes longer than the look-up.
            status = os.lstat(f"{self._folder}/{name}")
        except FileNotFoundError:
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None
