"""What a hand worker and its owner say to each other over a socket: a JSON header and, after it, one array.

Both sides import this file, and the worker may run on another interpreter: standard library and numpy only.
On the wire: two unsigned 64-bit lengths in network order, the header in UTF-8, the array's bytes in C order.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

import numpy as np

LENGTHS = struct.Struct("!QQ")

NUM_COORDINATES = 42
"""A hand is a row of 44 numbers: x and y of 21 keypoints, confidence, probability of a right hand."""
HAND_COLUMNS = NUM_COORDINATES + 2


def send(connection: socket.socket, header: dict[str, Any], array: np.ndarray | None = None) -> None:
    """Send one message.

    Raises:
        OSError: the other side is gone, or took nothing for as long as the connection's timeout.
    """
    size = 0
    if array is not None:
        header, size = {**header, "dtype": str(array.dtype), "shape": array.shape}, array.nbytes
    text = json.dumps(header).encode()
    connection.sendall(LENGTHS.pack(len(text), size) + text)
    if array is not None and size:
        connection.sendall(np.ascontiguousarray(array).data.cast("B"))


def receive(connection: socket.socket) -> tuple[dict[str, Any], np.ndarray]:
    """Wait for one message; the array is empty where there was none.

    Raises:
        EOFError: the other side is gone.
        TimeoutError: nothing came for as long as the connection's timeout.
    """
    text_length, size = LENGTHS.unpack(_exactly(connection, LENGTHS.size))
    header = json.loads(_exactly(connection, text_length).decode())
    payload = _exactly(connection, size)
    array = np.frombuffer(payload, header.pop("dtype", "uint8")).reshape(header.pop("shape", (0,)))
    return header, array


def _exactly(connection: socket.socket, size: int) -> bytearray:
    buffer = bytearray(size)
    view, filled = memoryview(buffer), 0
    while filled < size:
        count = connection.recv_into(view[filled:])
        if count == 0:
            raise EOFError("the other side closed the connection")
        filled += count
    return buffer
