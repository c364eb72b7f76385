"""Whether a Ray cluster answers, told in a sentence: Ray itself tries for a quarter of an hour."""

import socket

from data_schemas.errors import UserError

CONNECT_SECONDS = 10.0


class RayUnavailable(UserError, ConnectionError):
    """Ray does not start, or nobody answers at an address. Either may pass, so that flows try again."""


def check_ray_address(address: str) -> None:
    """See whether somebody answers at `host:port` or `ray://host:port`; other addresses are left to Ray.

    Raises:
        RayUnavailable: nobody does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdigit()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise RayUnavailable(
            f"No Ray cluster answers at {address}, as RAY_ADDRESS or --address says ({error}): start it, mend the "
            "address, or give none to work on this machine alone."
        ) from None
