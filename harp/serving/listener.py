"""The port: taken before the policy is loaded, so that a taken one shows at once, and opened when it is warm.

A socket that is bound and does not listen yet refuses connections, so a robot that comes early tries again, as
`openpi-client`'s users do, and does not hang.
"""

import ipaddress
import socket

from data_schemas.errors import UserError


def bind(host: str, port: int) -> socket.socket:
    """A bound TCP socket that does not listen yet.

    Raises:
        UserError: an address that is not this machine's, or a port that is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        # Without it a port stays taken for a minute after its server has ended.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise UserError(
            f"Cannot listen on {host}:{port} ({error.strerror}); take another --port, or a --host of this machine."
        ) from None
    return listener


def url_of(listener: socket.socket) -> str:
    """`127.0.0.1:8000`, `[::1]:8000`."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_local(listener: socket.socket) -> bool:
    """Whether only this machine reaches it."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback
