"""What a storage refuses for as long as nobody sees to it, as opposed to an outage that passes by itself.

Python names an error of the storage by class or number; `deltalake` only by text, which holds the number of the system
or the answer of the object store.
"""

import re

from deltalake.exceptions import DeltaError

from data_schemas.errors import LASTING_NUMBERS

LASTING = (
    FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError
)  # fmt: skip
"""The classes are for object stores, whose errors have no number."""

LASTING_TEXT = re.compile(
    rf"(os error|Os \{{ code:) ({'|'.join(map(str, sorted(LASTING_NUMBERS)))})\b"
    r"|permission denied|read-only|no space left|file too large"
    r"|401 Unauthorized|403 Forbidden|<Code>NoSuchBucket",
    re.IGNORECASE,
)


def is_refusal(error: BaseException) -> bool:
    """Whether a storage would answer the same a minute later: it is full, forbids it, or has no such place."""
    if not isinstance(error, (OSError, DeltaError)):
        return False
    numbered = isinstance(error, OSError) and error.errno in LASTING_NUMBERS
    return numbered or isinstance(error, LASTING) or LASTING_TEXT.search(str(error)) is not None
