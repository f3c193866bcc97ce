"""Ports of 127.0.0.1, and small TCP servers that misbehave in one way each.

Here: ports that are free, refused or deaf, and servers that say nothing or hang up; all inside the test's
own event loop. Not here: real servers (``servers``), and faults on the way to a healthy server.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import secrets
import select
import socket
import struct
from collections.abc import Iterator
from typing import Self

__all__ = ["BacklogServer", "FlappingServer", "MuteServer", "free_port", "port_is_free", "refused_port"]

HOST = "127.0.0.1"

# Below the ports that kernels give to outgoing connections (Linux: from 32768, others: from 49152). A client
# that dials a dead port of that range over and over is one day given the same port as its own end, connects
# to itself, and then the server cannot come back. Redis Cluster adds 10000 for its bus: that fits too.
_PORTS = range(20_000, 32_000)

# Real seconds in which a connection over loopback is made, if it is made at all.
_HANDSHAKE = 0.05
_MOST_FILLERS = 64
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # linger, for zero seconds


def free_port() -> int:
    """A port that nobody uses now, and that outgoing connections are never given.

    Nothing keeps others from taking it before the caller does: be ready to try again.

    Raises:
        OSError: none could be found.
    """
    for _ in range(1000):
        if port_is_free(port := secrets.choice(_PORTS)):  # `random` may be seeded alike in two processes
            return port
    raise OSError(errno.EADDRINUSE, f"no free port found in {_PORTS}")


def port_is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` now; what is left of closed connections is no obstacle."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise  # not allowed here: that is another matter, and another message
    return True


@contextlib.contextmanager
def refused_port() -> Iterator[int]:
    """A port that refuses every connection, and is held meanwhile so that nobody can listen on it."""
    with socket.socket() as held:
        held.bind((HOST, 0))
        port: int = held.getsockname()[1]
        yield port


class MuteServer:
    """Accepts every connection, and then neither reads nor writes: a peer that hangs.

    What clients send is acknowledged by the kernel until its buffers are full. Use it with ``async with``;
    leaving closes all connections.

    Args:
        port: the port to use; None: a free one.

    Attributes:
        connections: how many connections have been accepted so far.
    """

    def __init__(self, *, port: int | None = None) -> None:
        self.connections = 0
        self._wanted = port or 0
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()

    @property
    def port(self) -> int:
        """The port. Raises RuntimeError outside of ``async with``."""
        if self._listener is None:
            raise RuntimeError(f"{type(self).__name__} has a port only inside `async with`")
        port: int = self._listener.getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        self._listener = listener = _bound_socket(self._wanted)
        listener.listen()
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        while self._open:
            self._open.pop().close()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            connection, _ = listener.accept()
            connection.setblocking(False)
            self.connections += 1
            self._open.add(connection)
            self._accepted(connection)

    def _accepted(self, connection: socket.socket) -> None:
        """What to do with a new connection: here, nothing."""


class FlappingServer(MuteServer):
    """Accepts every connection, and closes it a little later: a peer that cannot keep its promise.

    Args:
        after: seconds of the loop's time between accepting and closing; 0.0: at once.
        reset: close with a reset (RST) instead of an orderly end (FIN).
        port: the port to use; None: a free one.
    """

    def __init__(self, *, after: float = 0.05, reset: bool = False, port: int | None = None) -> None:
        super().__init__(port=port)
        self._after = after
        self._reset = reset

    def _accepted(self, connection: socket.socket) -> None:
        asyncio.get_running_loop().call_later(self._after, self._hang_up, connection)

    def _hang_up(self, connection: socket.socket) -> None:
        if connection not in self._open:
            return  # the whole server was closed meanwhile
        self._open.discard(connection)
        if self._reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        else:
            _discard_input(connection)
        connection.close()


class BacklogServer:
    """A port where dialling hangs: its queue of connections is full and never emptied, so SYNs are dropped.

    Entering fills the queue, which takes a tenth of a real second. Linux only: other kernels answer a full
    queue in other ways.

    Attributes:
        connections: how many connections have been accepted so far: none, ever.
    """

    def __init__(self) -> None:
        self.connections = 0
        self._sockets = contextlib.ExitStack()
        self._port: int | None = None

    @property
    def port(self) -> int:
        """The port. Raises RuntimeError outside of ``async with``."""
        if self._port is None:
            raise RuntimeError("BacklogServer has a port only inside `async with`")
        return self._port

    async def __aenter__(self) -> Self:
        with contextlib.ExitStack() as sockets:
            listener = sockets.enter_context(_bound_socket(0))
            listener.listen(0)
            port: int = listener.getsockname()[1]
            _fill(port, sockets=sockets)
            self._sockets = sockets.pop_all()
        self._port = port
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._sockets.close()
        self._port = None


def _bound_socket(port: int) -> socket.socket:
    bound = socket.socket()
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, port))
    except BaseException:
        bound.close()
        raise
    return bound


def _discard_input(connection: socket.socket) -> None:
    # Closing with unread bytes in the buffer would send a reset.
    with contextlib.suppress(OSError):
        while connection.recv(65536):
            pass


def _fill(port: int, *, sockets: contextlib.ExitStack) -> None:
    """Connect to ``port`` until two connections in a row hang."""
    hanging = 0
    for _ in range(_MOST_FILLERS):
        filler = sockets.enter_context(socket.socket())
        filler.setblocking(False)
        filler.connect_ex((HOST, port))
        _, connected, _ = select.select([], [filler], [], _HANDSHAKE)
        hanging = 0 if connected else hanging + 1
        if hanging == 2:  # one may be an accident of scheduling
            return
    raise OSError(errno.ENOTSUP, "this kernel does not let a full backlog hang")
