"""The fault proxy as tests use it: in their own event loop, or from plain code without one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Self, TypeVar

from tether.testing.proxy.background import LoopThread, call_on
from tether.testing.proxy.server import ProxyServer, new_seed
from tether.testing.proxy.toxics import Placed, Stream, Timeout, Toxic, ToxicError

__all__ = ["FaultProxy"]

T = TypeVar("T")

_MUTE = {"mute_upstream": "upstream", "mute_downstream": "downstream"}


class FaultProxy:
    """A TCP proxy between a client and its server that does to the connection what networks do.

    ``async with`` runs it on the loop of the caller, ``with`` (or ``start()`` and ``stop()``) on a thread of its
    own. The methods are the same, take effect at once, and can be called from any thread. A proxy can be started
    again after its end: on the same port, with the toxics it had.

    Args:
        upstream_host: where connections are carried to; a name or an address.
        upstream_port: and its port.
        host: the address to listen on.
        port: the port to listen on; None: a free one, chosen at the first start and kept from then on.
        seed: for all draws (toxicity, jitter, sizes); None: a new one, which ``seed`` tells.

    Raises:
        OSError: on starting: the address cannot be listened on.
    """

    def __init__(
        self,
        upstream_host: str,
        upstream_port: int,
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
        seed: int | None = None,
    ) -> None:
        self.upstream = upstream_host, upstream_port
        self.host = host
        self.seed = new_seed() if seed is None else seed
        self._port = port
        self._kept: tuple[Placed, ...] = ()
        self._server: ProxyServer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: LoopThread | None = None

    # --- its life -------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._open(asyncio.get_running_loop())
        return self

    async def __aexit__(self, *exc: object) -> None:
        server = self._forget()
        await server.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Run it on a thread of its own.

        Raises:
            OSError: the address cannot be listened on.
            RuntimeError: it runs already.
        """
        thread = LoopThread(f"fault proxy for {self.upstream[0]}:{self.upstream[1]}")
        thread.start()
        try:
            call_on(thread.loop, lambda: self._open(thread.loop))
        except BaseException:
            thread.stop()
            raise
        self._thread = thread

    def stop(self) -> None:
        """Close the listener and every connection, and end the thread. May be called again."""
        thread, self._thread = self._thread, None
        if thread is not None:
            try:
                thread.run(self.__aexit__())
            finally:
                thread.stop()

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not None:
            raise RuntimeError(f"{self!r} is running already")
        server = ProxyServer(self.upstream, host=self.host, port=self._port, seed=self.seed)
        for placed in self._kept:
            server.add(placed)
        server.up()
        self._port, self._server, self._loop = server.port, server, loop

    def _forget(self) -> ProxyServer:
        server = self._running()
        self._kept, self._loop = server.toxics, None
        return server

    # --- what it is -----------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port, also while the proxy is down. Raises RuntimeError before the first start."""
        if self._port is None:
            raise RuntimeError("a FaultProxy has no port before its first start")
        return self._port

    @property
    def is_up(self) -> bool:
        """Whether it accepts connections."""
        return self._loop is not None and self._running().is_up

    @property
    def connections(self) -> int:
        """How many connections it has accepted since its start; this and the other counts last until the next."""
        return self._told(lambda server: server.accepted)

    @property
    def open_connections(self) -> int:
        """How many connections there are now."""
        return self._told(lambda server: server.open_connections)

    @property
    def bytes_upstream(self) -> int:
        """Bytes passed on to the server since the start."""
        return self._told(lambda server: server.passed("upstream"))

    @property
    def bytes_downstream(self) -> int:
        """Bytes passed on to clients since the start."""
        return self._told(lambda server: server.passed("downstream"))

    @property
    def toxics(self) -> tuple[Placed, ...]:
        """The toxics, in the order in which data meets them."""
        return self._told(lambda server: server.toxics)

    def __repr__(self) -> str:
        state = "stopped" if self._loop is None else "up" if self.is_up else "down"
        return (
            f"<FaultProxy {self.host}:{self._port or '?'} to {self.upstream[0]}:{self.upstream[1]} {state}>"
        )

    # --- faults ---------------------------------------------------------------------------------------------------

    def down(self) -> None:
        """Refuse connections and close those there are, until ``up()``. The port stays taken."""
        self._call(ProxyServer.down)

    def up(self) -> None:
        """Accept connections again. Raises OSError when somebody else has the port by now."""
        self._call(ProxyServer.up)

    def freeze(self) -> None:
        """Hold everything back, both ways: connections are accepted, and nothing comes. ``thaw()`` lets it pass."""
        self._call(ProxyServer.freeze)

    def thaw(self) -> None:
        """Let everything pass that ``freeze()`` has held back, in its order."""
        self._call(ProxyServer.thaw)

    def mute(self) -> None:
        """Swallow everything, both ways: connections are accepted, and nothing comes.

        It places two ``timeout`` toxics, ``mute_upstream`` and ``mute_downstream``. ``unmute()`` closes the
        connections that have lost data to them.
        """
        self._call(_mute)

    def unmute(self) -> None:
        """Take back ``mute()``: connections there are close, new ones work."""
        self._call(_unmute)

    def cut(self, after: int, *, connections: int = 1) -> None:
        """Reset (RST) the next connection when exactly ``after`` bytes have gone to the client; 0: at once.

        Args:
            after: bytes towards the client; a connection that ends before has met its cut all the same.
            connections: how many connections to do it to, one after another.

        Raises:
            ValueError: a number that cannot be.
        """
        if after < 0 or connections < 1:
            raise ValueError(f"cannot cut {connections} connections after {after} bytes")
        self._call(lambda server: server.cut(after, connections))

    def uncut(self) -> None:
        """Forget the cuts that no connection has met yet."""
        self._call(ProxyServer.uncut)

    def reset_all(self) -> None:
        """Reset (RST) every connection there is, both sides of it; new ones are accepted."""
        self._call(lambda server: server.end_all(reset=True))

    def close_all(self) -> None:
        """Close (FIN) every connection there is, both sides of it; new ones are accepted."""
        self._call(lambda server: server.end_all(reset=False))

    def heal(self) -> None:
        """Take back every fault: up, thawed, without toxics and cuts."""
        self._call(ProxyServer.heal)

    # --- toxics ---------------------------------------------------------------------------------------------------

    def add(
        self, toxic: Toxic, *, stream: Stream = "downstream", toxicity: float = 1.0, name: str | None = None
    ) -> str:
        """Do ``toxic`` to all connections, those there are and those to come; return its name.

        Args:
            toxic: ``Latency(0.2)``, for example.
            stream: ``downstream``: what the client gets; ``upstream``: what it sends.
            toxicity: the share of connections that it is done to, 0 to 1.
            name: None: ``<type>_<stream>``, as ``latency_downstream``.

        Raises:
            ToxicError: the name is taken, or a value cannot work.
        """
        placed = Placed(name=name or f"{toxic.type}_{stream}", toxic=toxic, stream=stream, toxicity=toxicity)
        self._call(lambda server: server.add(placed))
        return placed.name

    def change(self, name: str, toxic: Toxic, *, toxicity: float | None = None) -> None:
        """Give a toxic other values, and another share of connections.

        Raises:
            ToxicError: there is none of that name, it is of another type, or a value cannot work.
        """
        self._call(lambda server: _change(server, name, toxic, toxicity))

    def remove(self, name: str) -> None:
        """Take a toxic away; what it holds back passes. Raises ToxicError when there is none of that name."""
        self._call(lambda server: server.remove(name))

    @contextlib.contextmanager
    def toxic(
        self, toxic: Toxic, *, stream: Stream = "downstream", toxicity: float = 1.0, name: str | None = None
    ) -> Iterator[str]:
        """``add()`` for the length of a ``with`` block. Raises as ``add()`` does."""
        name = self.add(toxic, stream=stream, toxicity=toxicity, name=name)
        try:
            yield name
        finally:
            if any(placed.name == name for placed in self.toxics):  # `heal()` may have taken it
                self.remove(name)

    def _running(self) -> ProxyServer:
        if self._server is None or self._loop is None:
            raise RuntimeError(f"{self!r} has to be started first, with `async with`, `with` or start()")
        return self._server

    def _told(self, ask: Callable[[ProxyServer], T]) -> T:
        if self._server is not None and self._loop is None:
            return ask(self._server)  # at its end nothing changes any more
        return self._call(ask)

    def _call(self, act: Callable[[ProxyServer], T]) -> T:
        server, loop = self._running(), self._loop
        assert loop is not None
        return call_on(loop, lambda: act(server))


def _mute(server: ProxyServer) -> None:
    there = {placed.name for placed in server.toxics}
    for name, stream in _MUTE.items():
        if name not in there:
            server.add(Placed(name=name, toxic=Timeout(0.0), stream=stream))  # type: ignore[arg-type]


def _unmute(server: ProxyServer) -> None:
    for name in _MUTE.keys() & {placed.name for placed in server.toxics}:
        server.remove(name)


def _change(server: ProxyServer, name: str, toxic: Toxic, toxicity: float | None) -> None:
    placed = server.placed(name)
    if type(toxic) is not type(placed.toxic):
        raise ToxicError(f"{name!r} is a {placed.toxic.type}: it cannot become a {toxic.type}")
    server.change(name, toxic=toxic, toxicity=placed.toxicity if toxicity is None else toxicity)
