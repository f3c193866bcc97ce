"""The one connection to Redis that is tether's own: it probes, and it listens.

It is made from the settings of the user's pool, but speaks RESP2 (pub/sub messages come in the order of the replies)
and never retries by itself. One task reads it all the time, so that a closed socket is seen at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from tether.core.cause import Phase
from tether.ports import Attempt
from tether.runtime.dialing import open_stream
from tether.storage.redis.inherited import leave_connections

CLOSE_TIMEOUT = 0.5
"""Seconds that redis-py may take to close this connection after a refused login."""

_NOT_OURS = {
    "health_check_interval",
    "event_dispatcher",
    "himport_registry",
    "maint_notifications_config",
    "maint_notifications_pool_handler",
    "maintenance_notification_hash",
    "oss_cluster_maint_notifications_handler",
    "orig_host_address",
    "orig_socket_connect_timeout",
    "orig_socket_timeout",
    "retry",
    "retry_on_error",
    "retry_on_timeout",
}
"""Settings of a pool's connections that must not reach ours: retries, and the plumbing of other pools."""

_OF_THE_BLOCKING_KIND = {"parser_class", "redis_connect_func"}
"""Settings of a blocking pool's connections that an asyncio connection would take, and could not use."""

_MESSAGES = {b"message", b"pmessage"}


@lru_cache(maxsize=8)
def _own_class(base: Any) -> Any:
    """Return a subclass of redis-py's connection class that dials by tether's own dialing."""

    class OwnConnection(base):  # type: ignore[misc]
        attempt: Attempt
        _reader: asyncio.StreamReader | None
        _writer: asyncio.StreamWriter | None
        stream_writer: asyncio.StreamWriter | None = None

        async def _connect(self) -> None:
            if hasattr(self, "host"):
                where = self._connection_arguments()
                self._reader, self._writer = await open_stream(
                    where["host"], int(where["port"]), self.attempt, ssl=where.get("ssl")
                )
            else:  # a unix socket: nothing to resolve
                self.attempt.phase = Phase.TCP
                await super()._connect()
            self.stream_writer = self._writer
            self.attempt.phase = Phase.AUTH

        def drop(self) -> None:
            """Close at once: no goodbye, and no wait for unsent bytes."""
            self._reader = self._writer = None
            if self.stream_writer is None:
                return
            try:
                self.stream_writer.transport.abort()
            except RuntimeError:  # its loop is closed already: at least the server shall see it end
                with contextlib.suppress(OSError):
                    self.stream_writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    return OwnConnection


def own_class_of(pool: Any) -> tuple[Any, dict[str, Any]]:
    """Return the asyncio class for a connection like those of ``pool``, and the settings of ``pool`` that it takes.

    A blocking pool is looked after on an asyncio connection, too: a blocked thread could not be cancelled.
    """
    base, kwargs = pool.connection_class, pool.connection_kwargs
    if "asyncio" in base.__module__ or not base.__module__.startswith("redis."):
        return base, kwargs
    from redis.asyncio import connection

    twin = next(
        getattr(connection, one.__name__) for one in base.__mro__ if hasattr(connection, one.__name__)
    )
    known = {
        name
        for one in twin.__mro__
        if one is not object
        for name in inspect.signature(one.__init__).parameters
    }
    return twin, {
        key: value for key, value in kwargs.items() if key in known and key not in _OF_THE_BLOCKING_KIND
    }


def own_settings(kwargs: dict[str, Any], credential: Any) -> dict[str, Any]:
    """Return a pool's connection settings, changed for the connection that is tether's own."""
    settings = {key: value for key, value in kwargs.items() if key not in _NOT_OURS}
    # The attempt's deadline covers connecting, so the driver's own limits only bound its closing.
    settings.update(
        protocol=2, decode_responses=False, socket_timeout=None, socket_connect_timeout=CLOSE_TIMEOUT
    )
    if credential is not None:
        name, password = credential if isinstance(credential, tuple) else (kwargs.get("username"), credential)
        settings.update(username=name, password=password, credential_provider=None)
    return settings


async def open_session(
    base: Any,
    settings: dict[str, Any],
    attempt: Attempt,
    on_message: Callable[[list[bytes]], None],
) -> Session:
    """Connect and log in; leaves nothing open when it fails or is cancelled."""
    connection = _own_class(base)(**settings)
    connection.attempt = attempt
    # No CLIENT SETINFO: a server that is full answers, hangs up, and a second write would then lose us its answer.
    connection.driver_info = connection.lib_name = connection.lib_version = None
    try:
        await connection.connect()
    except BaseException:
        connection.drop()
        raise
    return Session(connection, attempt, on_message)


class Session:
    """An open connection, its reader, and the replies that are owed.

    Args:
        connection: connected and logged in.
        attempt: the dial it came from; told when the connection dies.
        on_message: called with each pub/sub message, raw; must not wait.

    Attributes:
        subscribed: what the server has confirmed, as (is a pattern, name).
        loop: the event loop that it belongs to.
        pool_retired: whether the user's pool was cleared for this connection already.
    """

    __slots__ = (
        "_attempt",
        "_closed",
        "_connection",
        "_lock",
        "_on_message",
        "_owed",
        "_reader",
        "loop",
        "pool_retired",
        "subscribed",
    )

    def __init__(self, connection: Any, attempt: Attempt, on_message: Callable[[list[bytes]], None]) -> None:
        self._connection = connection
        self._attempt = attempt
        self._on_message = on_message
        self._closed = False
        self._owed: deque[asyncio.Future[Any]] = deque()
        self._lock = asyncio.Lock()
        self.subscribed: set[tuple[bool, bytes]] = set()
        self.pool_retired = not attempt.is_reconnect
        self.loop = asyncio.get_running_loop()
        self._reader = self.loop.create_task(self._read(), name="tether redis reader")

    async def command(self, *words: Any) -> Any:
        """Send one command and return its reply; a reply that is an error is raised."""
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        async with self._lock:  # replies come in the order of the commands
            if self._closed:
                raise ConnectionResetError("the connection is closed")
            self._owed.append(reply)
            await self._connection.send_command(*words, check_health=False)
        return await reply

    async def _read(self) -> None:
        try:
            while True:
                await self._read_one()
        except Exception as error:  # noqa: BLE001 - whatever ends the stream is the reason of the loss
            self._end(error)
            self._attempt.lost(error)

    async def _read_one(self) -> None:
        from redis.exceptions import ResponseError

        try:
            response = await self._connection.read_response(disconnect_on_error=False)
        except ResponseError as error:
            self._answer(error)
            return
        if isinstance(response, list) and response and response[0] in _MESSAGES:
            self._on_message(response)
        else:
            self._answer(response)

    def _answer(self, response: Any) -> None:
        reply = self._owed.popleft() if self._owed else None
        if reply is None or reply.done():
            return
        if isinstance(response, BaseException):
            reply.set_exception(response)
        else:
            reply.set_result(response)

    def _end(self, error: BaseException | None) -> None:
        self._closed = True
        while self._owed:
            reply = self._owed.popleft()
            if reply.done():
                continue
            if error is None:
                reply.cancel()
            else:
                reply.set_exception(error)
                reply.exception()  # whoever waited may be gone; then nobody asks for it

    def abort(self) -> None:
        """Close at once. Idempotent."""
        self._connection.drop()
        self._reader.cancel()
        self._end(None)

    def leave_to_parent(self) -> object:
        """In a forked child: let go of the socket. See ``tether.runtime.fork.Forked``."""
        self._closed = True
        left = self._connection.stream_writer
        self._connection.stream_writer = None  # dropping it must not reach the parent's loop
        return left, leave_connections([self._connection])

    async def close(self) -> None:
        """Say QUIT, and close."""
        with contextlib.suppress(Exception):
            await self.command("QUIT")
        self.abort()
        await asyncio.wait({self._reader})
