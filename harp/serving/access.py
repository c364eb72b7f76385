"""Who may ask: a token that the environment gives, never an argument, as those show in the list of processes.

`openpi-client` sends `Authorization: Api-Key TOKEN` for its `api_key`; `Bearer TOKEN` is taken alike.
"""

import hmac
import os
from collections.abc import Sequence

from data_schemas.errors import UserError

TOKEN_VARIABLE = "HARP_SERVE_TOKEN"
SCHEMES = ("api-key", "bearer")


def read_token() -> str | None:
    """The token of the environment; none lets everybody in.

    Raises:
        UserError: an empty one, or one that cannot stand in a header.
    """
    token = os.environ.get(TOKEN_VARIABLE)
    if token is None:
        return None
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        found = "is empty" if not token else "has spaces or signs that a header cannot carry"
        raise UserError(
            f"{TOKEN_VARIABLE} {found}; give a token of ASCII letters and digits, or unset it to let everybody in."
        )
    return token


def is_allowed(authorization: Sequence[str], token: str | None) -> bool:
    """Whether a request's `Authorization` headers carry the token; takes the same time for every wrong one."""
    if token is None:
        return True
    if len(authorization) != 1:
        return False
    scheme, _, given = authorization[0].partition(" ")
    # Headers come with bytes beyond ASCII as surrogates.
    same = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), token.encode())
    return same and scheme.lower() in SCHEMES
