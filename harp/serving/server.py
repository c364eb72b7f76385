"""A policy behind openpi's websocket protocol.

On connecting a robot gets one frame of metadata; then every observation it sends (a msgpack map, see `observations`)
is answered by `{"actions": (K, A), "server_timing": {…}}`. What cannot be answered gets a text frame of one sentence,
`reason: found, expected`, which `openpi-client` raises as an error; the connection stays, unless the server itself
failed: then it closes with 1011, as openpi's server does. `GET /healthz` is `200 OK` while the policy answers.

The event loop reads, checks and sends; the policy runs in a thread of its own (`batching`), so that a robot that is
slow, silent or gone holds up nobody. A connection has one request in work at a time and reads no further before.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from socket import socket
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response

from data_schemas.errors import BadInput
from harp.policy.predict import Predictor
from harp.serving.access import is_allowed
from harp.serving.batching import Answer, Batcher, Busy
from harp.serving.messages import decode, encode
from harp.serving.observations import ObservationSpec

HEALTH = "/healthz"
HANDSHAKE_SECONDS, CLOSE_SECONDS = 5, 2
GRACE_SECONDS = 25
"""For requests in work when told to stop; below the 30 s after which supervisors kill."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServingConfig:
    """How robots are served."""

    max_batch: int = 8
    wait_seconds: float = 0.005
    max_waiting: int = 64
    max_message_bytes: int = 16 * 2**20


class PolicyServer:
    """Serves one policy.

    Args:
        token: robots must bring it; none lets everybody in.
    """

    def __init__(self, predictor: Predictor, config: ServingConfig, token: str | None = None) -> None:
        self._predictor = predictor
        self._config = config
        self._token = token
        self._spec = ObservationSpec.of(predictor.policy.vla.policy_config)
        self._open: set[ServerConnection] = set()
        self._working: set[ServerConnection] = set()
        self._stopping = False
        self._batcher = Batcher(
            predictor.act_batch,
            config.max_batch,
            config.wait_seconds,
            config.max_waiting,
            robots=lambda: len(self._open),
        )

    @property
    def metadata(self) -> dict[str, Any]:
        """What a robot is told on connecting."""
        action = self._predictor.policy.action
        return {
            "server": "harp",
            "action_horizon": action.chunk,
            "action_dim": action.dim,
            "observation_keys": list(self._spec.keys),
            "image_size": self._spec.image_size,
            "state_dim": self._spec.state_dim or 0,
            "interface": action.interface.model_dump(mode="json") if action.interface else None,
        }

    def warm_up(self) -> None:
        """One inference of one robot and one of a full batch: the first robots do not wait for what comes once, and
        memory that does not suffice shows before a robot moves."""
        start = time.perf_counter()
        example = self._spec.example()
        for size in sorted({1, self._config.max_batch}):
            self._predictor.act_batch([example] * size)
        logger.info("Warm after %.1f s.", time.perf_counter() - start)

    async def serve(self, listener: socket, on_ready: Callable[[], None] = lambda: None) -> None:
        """Answer until SIGTERM or SIGINT, then finish what is in work and return.

        Args:
            listener: bound, not listening yet.
            on_ready: called when robots can connect.
        """
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        # websockets logs a traceback for every port scan; what fails in a handler is logged here.
        quiet = logging.getLogger(f"{__name__}.websockets")
        quiet.setLevel(logging.CRITICAL)
        async with (
            asyncio.TaskGroup() as tasks,
            serve(
                self._handle,
                sock=listener,
                process_request=self._admit,
                origins=[None],  # web pages, which any site could open, send an origin; robots do not
                compression=None,
                max_size=self._config.max_message_bytes,
                max_queue=1,
                open_timeout=HANDSHAKE_SECONDS,
                close_timeout=CLOSE_SECONDS,
                logger=quiet,
            ) as server,
        ):
            answering = tasks.create_task(self._batcher.run())
            on_ready()
            await stop.wait()
            await self._drain(server)
            answering.cancel()

    def _admit(self, connection: ServerConnection, request: HttpRequest) -> Response | None:
        if request.path == HEALTH:
            if self._batcher.failing:
                return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "The last inference failed.\n")
            return connection.respond(HTTPStatus.OK, "OK\n")
        if is_allowed(request.headers.get_all("Authorization"), self._token):
            return None
        logger.warning("Refused %s: no valid token.", _name(connection))
        response = connection.respond(
            HTTPStatus.UNAUTHORIZED, "Send the server's token as 'Authorization: Api-Key TOKEN'.\n"
        )
        response.headers["WWW-Authenticate"] = "Api-Key"
        return response

    async def _handle(self, connection: ServerConnection) -> None:
        logger.info("%s connected.", _name(connection))
        self._open.add(connection)
        answered = 0
        try:
            await connection.send(encode(self.metadata))
            previous_ms: float | None = None
            async for message in connection:
                self._working.add(connection)
                start = time.perf_counter()
                await connection.send(await self._reply(connection, message, previous_ms))
                previous_ms = 1e3 * (time.perf_counter() - start)
                self._working.discard(connection)
                answered += 1
                if self._stopping:
                    await _say_goodbye(connection)
        except ConnectionClosed:
            pass
        except Exception as error:
            logger.exception("%s: internal error", _name(connection))
            await connection.send(f"internal_error: {type(error).__name__}; the server's log says more.")
            await connection.close(CloseCode.INTERNAL_ERROR, "internal error, see the previous frame")
        finally:
            self._open.discard(connection)
            self._working.discard(connection)
            logger.info("%s left after %d answers.", _name(connection), answered)

    async def _reply(
        self, connection: ServerConnection, message: bytes | str, previous_ms: float | None
    ) -> bytes | str:
        try:
            request = self._spec.request(decode(message))
            answer = await _unless_gone(connection, self._batcher.submit(request))
        except (BadInput, Busy) as error:
            logger.info("%s: %s", _name(connection), error)
            return str(error)
        timing = {
            "infer_ms": 1e3 * answer.infer_seconds,
            "wait_ms": 1e3 * answer.wait_seconds,
            "batch_size": answer.batch_size,
        }
        if previous_ms is not None:
            timing["prev_total_ms"] = previous_ms
        return encode({"actions": answer.actions, "server_timing": timing})

    async def _drain(self, server: Server) -> None:
        logger.info("Stopping: %d requests in work.", len(self._working))
        self._stopping = True
        server.close(close_connections=False)
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await asyncio.gather(*map(_say_goodbye, self._open - self._working))
                await server.wait_closed()
        except TimeoutError:
            logger.warning("%d robots did not take their answer in time.", len(self._working))
            for connection in self._working:
                connection.transport.abort()


async def _unless_gone(connection: ServerConnection, pending: "asyncio.Future[Answer]") -> Answer:
    """The answer, or `ConnectionClosed` as soon as the robot is gone, with the request withdrawn."""
    gone = asyncio.ensure_future(connection.wait_closed())
    try:
        await asyncio.wait({pending, gone}, return_when=asyncio.FIRST_COMPLETED)
        if pending.done():
            return pending.result()
        raise connection.protocol.close_exc
    finally:
        pending.cancel()
        gone.cancel()


async def _say_goodbye(connection: ServerConnection) -> None:
    await connection.close(CloseCode.GOING_AWAY, "the server stops")


def _name(connection: ServerConnection) -> str:
    address = connection.remote_address
    return f"{address[0]}:{address[1]}" if address else "robot"
