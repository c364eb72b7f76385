"""The errors a user meets: a mistake of theirs, a broken item in their data, and what the system refuses."""

import errno


class UserError(Exception):
    """A user's mistake: one sentence that says what was found, what was expected and how to mend it.

    Command lines print the sentence and exit with status 2; they never show a traceback for it.
    """


class BadInput(Exception):
    """A broken item of a data set (a video, a calibration file, a pair).

    The engine records it in the ledger under `reason` and goes on with the other items.

    Args:
        reason: snake_case name that reports count by, e.g. `truncated_video`, `bad_calibration_shape`.
        detail: one sentence for people: what was found, what was expected.
        retryable: true where it may be mended without the item becoming another one, as a file that comes back.
    """

    def __init__(self, reason: str, detail: str, retryable: bool = False) -> None:
        super().__init__(reason, detail, retryable)
        self.reason = reason
        self.detail = detail
        self.retryable = retryable

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


LASTING_NUMBERS = frozenset(
    (
        errno.EPERM,
        errno.ENOENT,
        errno.EACCES,
        errno.EEXIST,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EFBIG,
        errno.ENOSPC,
        errno.EROFS,
        errno.ENAMETOOLONG,
        errno.EDQUOT,
    )
)
"""What the system says of a path that is wrong or forbidden, or of a full disk: it says the same a minute later."""
