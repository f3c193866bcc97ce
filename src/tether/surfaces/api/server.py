"""Serves the API in the event loop of the connections, by uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp, Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

from tether.errors import TetherError

REQUEST_TIMEOUT = 10.0
"""Seconds that a client has for a whole request, counted from the connection or from the end of the one before."""

ANSWER_TIMEOUT = 30.0
"""Seconds that a client may leave an answer unread. Readers of events have less, see ``stream.STALL_TIMEOUT``."""

GRACE = 1
"""Seconds that answers under way get when the server stops."""

_LINGER = "hh" if os.name == "nt" else "ii"

_NOT_OF_THIS_MACHINE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


class CannotListen(TetherError):
    """The address of the API cannot be used; the message says why, and the mend."""


class ApiServer:
    """One HTTP server on one address.

    Args:
        host: name or address to bind.
        port: 0 for a free one.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host.strip("[]"), port
        self._sockets: list[socket.socket] = []
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def bind(self) -> None:
        """Take the port; clients wait from now on.

        Raises:
            CannotListen: it is taken, forbidden or not of this machine.
        """
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        except (OSError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "that is no name of a host"
            raise CannotListen(f"api.host: {self._host} cannot be resolved ({why})") from None
        for family, *_, address in dict.fromkeys(found):
            try:
                self._sockets.append(_listen(family, address))
            except OSError as error:
                if error.errno in _NOT_OF_THIS_MACHINE and len(found) > 1:
                    continue  # a name of IPv4 and IPv6, on a machine that has one of them
                self._close_sockets()
                raise CannotListen(_why(error, self._host, self._port)) from None
            if self._port == 0:
                break
        if not self._sockets:
            raise CannotListen(f"api.host: {self._host} is not an address of this machine")

    @property
    def url(self) -> str:
        """Where it is, for people and clients of this machine."""
        return url_of(self._host, self._sockets[0].getsockname()[1] if self._sockets else self._port)

    def abort(self, scope: Scope) -> None:
        """Drop the connection that a request came on, with all that was not read from it."""
        if self._server is not None:
            self._server.abort(scope.get("client"))

    async def start(self, app: ASGIApp) -> None:
        """Answer requests with ``app``."""
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2 * GRACE,  # by then we have dropped all clients
            forwarded_allow_ips="",
            proxy_headers=False,
        )
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve(self._sockets), name="tether api")
        while not self._server.started and not self._task.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.005)
        if self._task.done():
            self._task.result()

    async def ended(self) -> None:
        """Wait until it answers no more."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def stop(self) -> None:
        """Stop accepting, give answers under way a moment, drop the rest. Idempotent."""
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await asyncio.wait({self._task}, timeout=GRACE)
            # Dropped clients end their answers; cancelled answers would be logged as errors.
            self._server.abort_all()
            await asyncio.wait({self._task}, timeout=3 * GRACE)
            await self._server.unwind()
        self._close_sockets()

    def _close_sockets(self) -> None:
        for sock in self._sockets:
            sock.close()
        self._sockets = []


def url_of(host: str, port: int) -> str:
    """Return the URL by which clients of this machine reach a server that is bound to ``host``."""
    plain = host.strip("[]")
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(plain, plain)  # noqa: S104 - read, not bound
    return f"http://{f'[{reachable}]' if ':' in reachable else reachable}:{port}"


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves the signals to us and can drop a client."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def abort(self, client: Any) -> None:
        for connection in tuple(self.server_state.connections):
            if (
                isinstance(connection, _Protocol)
                and client is not None
                and connection.client == tuple(client)
            ):
                _drop(connection.transport)

    def abort_all(self) -> None:
        for connection in tuple(self.server_state.connections):
            _drop(connection.transport)

    async def unwind(self) -> None:
        """Wait for what is left after the end: answers that are being cancelled, transports that are being closed."""
        self.abort_all()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=GRACE)
        await asyncio.sleep(0)  # a transport closes its socket one turn after it was aborted


class _Protocol(H11Protocol):
    """uvicorn's protocol, which waits for no client for ever: neither to ask, nor to read the answer."""

    _asking: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_request()

    def data_received(self, data: bytes) -> None:
        try:
            super().data_received(data)
        except h11.LocalProtocolError:  # nonsense behind an answer that has begun: there is no way to say so
            self.transport.abort()
        self._await_request()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._await_request()

    def _await_request(self) -> None:
        """Watch the clock while a request has begun and is not complete."""
        if self._is_asking():
            if self._asking is None:
                self._asking = self.loop.call_later(REQUEST_TIMEOUT, self.transport.abort)
        elif self._asking is not None:
            self._asking.cancel()
            self._asking = None

    def _is_asking(self) -> bool:
        if self.conn.their_state is h11.SEND_BODY:
            return True
        is_first = self.cycle is None
        return self.conn.their_state is h11.IDLE and (is_first or bool(self.conn.trailing_data[0]))

    # -- a client that does not read ----------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._reading is not None and not self.transport.is_closing():
            self._reading.cancel()
            self._reading = None

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._await_reader()

    def shutdown(self) -> None:
        super().shutdown()
        self._await_reader()

    def _await_reader(self) -> None:
        if self._reading is None:
            self._reading = self.loop.call_later(ANSWER_TIMEOUT, _drop, self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._asking, self._reading, self.timeout_keep_alive_task):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)


def _drop(transport: asyncio.Transport) -> None:
    """End a connection with a reset: a mere close leaves what was not read in the kernel's memory, for minutes."""
    with contextlib.suppress(OSError):  # it is closed already
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(_LINGER, 1, 0)
        )
    transport.abort()


def _listen(family: int, address: Any) -> socket.socket:
    # Named, or asyncio does not know it for TCP and leaves Nagle's algorithm on: 10 ms on one big answer in eight.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere it would let two processes listen on one port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(128)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _why(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"api.port: port {port} of {host} is taken by another process; end that one, or choose another port"
    if error.errno == errno.EACCES:
        return f"api.port: port {port} is not for this user; choose one above 1023"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"api.host: {host} is not an address of this machine"
    return f"api: cannot listen on {host}, port {port}: {error.strerror}"
