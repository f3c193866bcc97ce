"""One connection through the proxy: two sockets, two flows, and one end for both.

Here: dialling the upstream, and closing, orderly or with a reset, whatever happens first.
Not here: which toxics there are (``server``).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import sys
from collections.abc import Iterable
from typing import Any

from tether.testing.proxy.flow import Flow
from tether.testing.proxy.toxics import Placed, Stream

__all__ = ["ProxyLink"]

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # linger, for zero seconds
_DIAL_DEADLINE = 30.0
_FLUSH_DEADLINE = 1.0
_SIOCOUTQNSD = 0x894B  # Linux: bytes that have not been sent yet


class ProxyLink:
    """One client's connection, from accept to close.

    Args:
        client: the accepted socket; it belongs to the link from now on.
        upstream: host and port to dial.
        gate: nothing passes while it is not set.
        seed: for the dice of this connection.
        cut: reset when exactly so many bytes have gone to the client; None: do not.
    """

    def __init__(
        self,
        client: socket.socket,
        upstream: tuple[str, int],
        *,
        gate: asyncio.Event,
        seed: str,
        cut: int | None,
    ) -> None:
        self._client = client
        self._address = upstream
        self._gate = gate
        self._seed = seed
        self._cut = cut
        self._placed: dict[str, Placed] = {}
        self._flows: dict[Stream, Flow] = {}
        self._working: set[asyncio.Future[None]] = set()
        self._reset: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def end(self, *, reset: bool = False) -> None:
        """Close both sides, orderly (FIN) or with a reset (RST). The first call decides; it may be any number."""
        if not self._reset.done():
            self._reset.set_result(reset)

    def place(self, placed: Placed) -> None:
        """Put a toxic to work, or change it."""
        self._placed[placed.name] = placed
        if flow := self._flows.get(placed.stream):
            flow.place(placed)

    def remove(self, placed: Placed) -> None:
        """Take a toxic away."""
        del self._placed[placed.name]
        if flow := self._flows.get(placed.stream):
            flow.remove(placed.name)

    def passed(self, stream: Stream) -> int:
        """How many bytes have gone that way."""
        return self._flows[stream].passed if stream in self._flows else 0

    async def run(self) -> None:
        """Live until an end: of both streams, of the proxy's choice, or by either side's reset."""
        reset, upstream = False, None
        dialing = asyncio.ensure_future(_dial(*self._address))
        try:
            if self._cut == 0:
                self.end(reset=True)
            either: set[asyncio.Future[Any]] = {dialing, self._reset}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not self._reset.done():
                upstream = dialing.result()
                reset = await self._carry(upstream)
            else:
                reset = self._reset.result()
        except OSError:
            pass  # nobody there to talk to: the client is closed, as Toxiproxy does
        finally:
            # Cancelled or not, the sockets go: no task reads them any more.
            upstream = upstream or await _taken_back(dialing)
            for side in (self._client, upstream):
                if side is not None:
                    _close(side, reset=reset)

    async def _carry(self, upstream: socket.socket) -> bool:
        """Carry data both ways until the end; return whether it is a reset."""
        self._flows = {
            "upstream": self._flow(self._client, upstream, "upstream", cut=None),
            "downstream": self._flow(upstream, self._client, "downstream", cut=self._cut),
        }
        for placed in tuple(self._placed.values()):
            self._flows[placed.stream].place(placed)
        tasks = [
            asyncio.ensure_future(work()) for flow in self._flows.values() for work in (flow.read, flow.write)
        ]
        self._working = set(tasks)
        for task in tasks:
            task.add_done_callback(self._finished)
        try:
            reset = await self._reset
        finally:
            for flow in self._flows.values():
                flow.stop()
            await _cancel(tasks)
        if reset:
            await _flushed(self._client)
        return reset

    def _flow(self, source: socket.socket, target: socket.socket, stream: Stream, *, cut: int | None) -> Flow:
        dice = random.Random(f"{self._seed} {stream}")
        return Flow(source, target, link=self, gate=self._gate, random=dice, cut=cut)

    def _finished(self, task: asyncio.Future[None]) -> None:
        self._working.discard(task)
        if task.cancelled():
            return
        if task.exception() is not None:
            self.end(reset=True)  # passed on: the other side must not take it for an orderly end
        elif not self._working:
            self.end()


async def _cancel(tasks: Iterable[asyncio.Future[None]]) -> None:
    """End the tasks. Raises what is a defect: that a peer has gone is none."""
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception) and not isinstance(outcome, OSError):
            raise outcome


async def _taken_back(dialing: asyncio.Future[socket.socket]) -> socket.socket | None:
    """End the dialling; return its socket if it has come to one."""
    dialing.cancel()
    await asyncio.wait({dialing})
    if dialing.cancelled() or dialing.exception() is not None:
        return None
    return dialing.result()


async def _dial(host: str, port: int) -> socket.socket:
    """Connect to the first address that answers. Raises OSError when none does, also for a name without one."""
    error: OSError = OSError(f"{host} has no address")
    async with asyncio.timeout(_DIAL_DEADLINE):
        for family, kind, protocol, _, address in await _addresses(host, port):
            try:
                return await _connected(socket.socket(family, kind, protocol), address)
            except OSError as failure:
                error = failure
    raise error


async def _addresses(host: str, port: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
    found: list[tuple[int, int, int, str, tuple[str, int]]]
    try:
        # An address needs no look-up, and so no thread.
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)  # type: ignore[assignment]
    except socket.gaierror:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)  # type: ignore[assignment]
    return found


async def _connected(side: socket.socket, address: tuple[str, int]) -> socket.socket:
    try:
        side.setblocking(False)
        await asyncio.get_running_loop().sock_connect(side, address)
        side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        side.close()
        raise
    return side


async def _flushed(side: socket.socket) -> None:
    """Wait until the kernel has sent what it was given: a reset throws away the rest."""
    if sys.platform != "linux":
        return
    import fcntl

    left = bytearray(4)
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(_FLUSH_DEADLINE):
            while fcntl.ioctl(side, _SIOCOUTQNSD, left) == 0 and any(left):  # noqa: ASYNC110 - the kernel tells nobody
                await asyncio.sleep(0.001)


def _close(side: socket.socket, *, reset: bool) -> None:
    with side, contextlib.suppress(OSError):
        if reset:
            side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        else:
            _drain(side)


def _drain(side: socket.socket) -> None:
    # Closing with unread bytes in the buffer would send a reset. What comes for ever is not waited for.
    for _ in range(64):
        if not side.recv(65536):
            return
