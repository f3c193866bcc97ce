"""The proxy itself, on one event loop: it listens, and keeps its connections and its toxics.

Here: up and down on one port, toxics for connections there are and to come, cuts, the gate, and counters.
Not here: calls from other threads (``fault_proxy``). Every method is to be called on the loop.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import random
import socket
from collections.abc import Iterable

from tether.testing.proxy.link import ProxyLink
from tether.testing.proxy.toxics import Placed, Stream, ToxicError
from tether.testing.tcp import free_port

__all__ = ["ProxyServer", "new_seed"]

_PORT_TRIES = 20
_BREATH = 0.1  # seconds without accepting when the process has no file descriptor left


class ProxyServer:
    """A TCP proxy with faults.

    Args:
        upstream: host and port to carry connections to.
        host: the address to listen on.
        port: the port to listen on; None: a free one, chosen at the first start and kept.
        seed: for all draws; the same seed and the same order of connections give the same draws.
    """

    def __init__(self, upstream: tuple[str, int], *, host: str, port: int | None, seed: int) -> None:
        self.upstream = upstream
        self.host = host
        self.port = port
        self.seed = seed
        self.accepted = 0
        self._gone: collections.Counter[str] = collections.Counter()  # bytes of connections that have ended
        self._gate = asyncio.Event()
        self._gate.set()
        self._listener: socket.socket | None = None
        self._holder: socket.socket | None = None
        self._links: dict[ProxyLink, asyncio.Task[None]] = {}
        self._cuts: collections.deque[int] = collections.deque()
        self._placed: dict[str, Placed] = {}

    @property
    def is_up(self) -> bool:
        """Whether it listens."""
        return self._listener is not None

    @property
    def open_connections(self) -> int:
        """How many connections there are."""
        return len(self._links)

    @property
    def toxics(self) -> tuple[Placed, ...]:
        """The toxics, in the order in which data meets them."""
        return tuple(self._placed.values())

    def passed(self, stream: Stream) -> int:
        """Bytes that have gone that way, of all connections."""
        return self._gone[stream] + sum(link.passed(stream) for link in self._links)

    def up(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        if self._listener is not None:
            return
        self._release()
        self._listener = self._bound()
        self._listener.listen(128)
        self._accept_more()

    def down(self) -> None:
        """Refuse connections, close those there are, and keep the port."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
            self._holder = self._held()
        self.end_all(reset=False)

    async def stop(self) -> None:
        """Go down, give the port back, and wait until every connection is closed."""
        self.down()
        self._release()
        self._gate.set()
        if tasks := list(self._links.values()):
            await asyncio.wait(tasks)

    def end_all(self, *, reset: bool) -> None:
        """Close every connection there is, orderly or with a reset."""
        for link in tuple(self._links):
            link.end(reset=reset)

    def freeze(self) -> None:
        """Let nothing pass: what comes is held."""
        self._gate.clear()

    def thaw(self) -> None:
        """Let what is held pass, and what comes after it."""
        self._gate.set()

    def cut(self, after: int, connections: int) -> None:
        """Reset each of the next connections after so many bytes towards the client."""
        self._cuts.extend([after] * connections)

    def uncut(self) -> None:
        """Forget the cuts that no connection has met yet."""
        self._cuts.clear()

    def add(self, placed: Placed) -> None:
        """Put a toxic to work. Raises ToxicError when there is one of that name."""
        if placed.name in self._placed:
            raise ToxicError(
                f"there is a toxic {placed.name!r} already; give another name, or change that one"
            )
        self._put(placed)

    def change(self, name: str, **values: object) -> Placed:
        """Change a toxic in its place. Raises ToxicError when there is none of that name."""
        placed: Placed = dataclasses.replace(self.placed(name), **values)  # type: ignore[arg-type]
        self._put(placed)
        return placed

    def remove(self, name: str) -> None:
        """Take a toxic away. Raises ToxicError when there is none of that name."""
        placed = self.placed(name)
        del self._placed[name]
        for link in tuple(self._links):
            link.remove(placed)

    def placed(self, name: str) -> Placed:
        """The toxic of that name. Raises ToxicError when there is none."""
        if name not in self._placed:
            raise ToxicError(f"no toxic {name!r} here; there are: {', '.join(self._placed) or 'none'}")
        return self._placed[name]

    def heal(self) -> None:
        """No fault any more: up, thawed, without toxics and cuts. Raises OSError when the port is taken."""
        self._cuts.clear()
        for name in tuple(self._placed):
            self.remove(name)
        self.thaw()
        self.up()

    def _put(self, placed: Placed) -> None:
        self._placed[placed.name] = placed
        for link in tuple(self._links):
            link.place(placed)

    def _accept_more(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:
            loop = asyncio.get_running_loop()
            loop.remove_reader(listener)
            loop.call_later(_BREATH, self._accept_more)
            return
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._begin(client)

    def _begin(self, client: socket.socket) -> None:
        self.accepted += 1
        cut = self._cuts.popleft() if self._cuts else None
        link = ProxyLink(client, self.upstream, gate=self._gate, seed=f"{self.seed} {self.accepted}", cut=cut)
        for placed in self._placed.values():
            link.place(placed)
        task = asyncio.get_running_loop().create_task(
            link.run(), name=f"fault proxy, connection {self.accepted}"
        )
        self._links[link] = task
        task.add_done_callback(lambda _: self._ended(link))

    def _ended(self, link: ProxyLink) -> None:
        del self._links[link]
        for stream in ("upstream", "downstream"):
            self._gone[stream] += link.passed(stream)

    def _bound(self) -> socket.socket:
        """A socket on the port; the first one finds a free port."""
        if self.port is not None:
            return _bound_socket(self.host, self.port)
        for port in _candidates():
            try:
                bound = _bound_socket(self.host, port)
            except OSError:
                continue
            self.port = port
            return bound
        raise OSError(f"no free port found on {self.host}")

    def _held(self) -> socket.socket | None:
        # Bound without listening: dialling is refused, and others are kept off the port.
        try:
            held = self._bound()
        except OSError:
            return None
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        return held

    def _release(self) -> None:
        if self._holder is not None:
            self._holder.close()
            self._holder = None


def _candidates() -> Iterable[int]:
    return (free_port() for _ in range(_PORT_TRIES))


def _bound_socket(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except BaseException:
        bound.close()
        raise
    return bound


def new_seed() -> int:
    """A seed that fits on one line of a test's report."""
    return random.SystemRandom().randrange(2**32)
