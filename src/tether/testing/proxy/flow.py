"""One direction of one connection: read, through the toxics, write.

Here: order, a bounded buffer (a slow receiver slows the sender down), half-closes, and the cut after k bytes.
Not here: what toxics do (``effects``), and closing sockets (``link``).
"""

from __future__ import annotations

import asyncio
import collections
import random
import socket
from typing import Any

from tether.testing.proxy.effects import Chunk, Effect, Link, effect_of
from tether.testing.proxy.toxics import Placed

__all__ = ["Buffer", "Flow"]

_CHUNK = 64 * 1024
_BUFFER = 1024 * 1024  # bytes under way in each direction: that of one second of latency at 8 Mbit/s


class Buffer:
    """Chunks in their order between one reader and one writer; full at ``limit`` bytes, or one chunk more."""

    def __init__(self, limit: int = _BUFFER) -> None:
        self._limit = limit
        self._chunks: collections.deque[Chunk | None] = collections.deque()
        self._size = 0
        self._moved = asyncio.Event()

    async def put(self, chunk: Chunk | None) -> None:
        """Add a chunk, or None for the end, when there is room."""
        while self._size >= self._limit:
            await self._move()
        self._chunks.append(chunk)
        self._size += len(chunk.data) if chunk else 0
        self._moved.set()

    async def get(self) -> Chunk | None:
        """Take the next chunk, or None at the end, when there is one."""
        while not self._chunks:
            await self._move()
        chunk = self._chunks.popleft()
        self._size -= len(chunk.data) if chunk else 0
        self._moved.set()
        return chunk

    async def _move(self) -> None:
        # One event serves both: full and empty at once it cannot be, so never do both wait.
        self._moved.clear()
        await self._moved.wait()


class Flow:
    """What one side sends, on its way to the other.

    Args:
        source: read from; non-blocking.
        target: written to; non-blocking.
        link: the connection, told of its end.
        gate: nothing passes while it is not set.
        random: this flow's own dice, so that one connection's draws do not depend on the others'.
        cut: reset the connection when exactly so many bytes have passed; None: do not.

    Attributes:
        passed: bytes written to the target.
    """

    def __init__(
        self,
        source: socket.socket,
        target: socket.socket,
        *,
        link: Link,
        gate: asyncio.Event,
        random: random.Random,
        cut: int | None = None,
    ) -> None:
        self.passed = 0
        self._source = source
        self._target = target
        self._link = link
        self._gate = gate
        self._random = random
        self._cut = cut
        self._buffer = Buffer()
        self._effects: dict[str, Effect[Any]] = {}

    def place(self, placed: Placed) -> None:
        """Add a toxic at the end of the chain, or change the one of that name."""
        if placed.name in self._effects:
            self._effects[placed.name].change(placed)
        else:
            self._effects[placed.name] = effect_of(placed, link=self._link, random=self._random)

    def remove(self, name: str) -> None:
        """Take a toxic away; what it holds back passes."""
        if effect := self._effects.pop(name, None):
            effect.remove()

    def stop(self) -> None:
        """Drop what the toxics have scheduled."""
        for effect in self._effects.values():
            effect.stop()

    async def read(self) -> None:
        """Read to the end of the stream. Raises OSError when the source is reset."""
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(self._source, _CHUNK):
            await self._buffer.put(Chunk(data, loop.time()))
        await self._buffer.put(None)

    async def write(self) -> None:
        """Write to the end of the stream, and pass the end on. Raises OSError when the target is reset."""
        while (chunk := await self._buffer.get()) is not None:
            await self._gate.wait()
            await self._forward(chunk, tuple(self._effects.values()))
        await self._gate.wait()
        for effect in tuple(self._effects.values()):
            if effect.active:
                await effect.ended()
        self._target.shutdown(socket.SHUT_WR)

    async def _forward(self, chunk: Chunk, effects: tuple[Effect[Any], ...]) -> None:
        if not effects:
            return await self._deliver(chunk.data)
        first, rest = effects[0], effects[1:]
        if not first.active:
            return await self._forward(chunk, rest)
        return await first.data(chunk, lambda part: self._forward(part, rest))

    async def _deliver(self, data: bytes) -> None:
        await self._gate.wait()
        if self._cut is not None:
            data = data[: self._cut - self.passed]
        await asyncio.get_running_loop().sock_sendall(self._target, data)
        self.passed += len(data)
        if self.passed == self._cut:
            self._link.end(reset=True)
            await asyncio.Event().wait()  # until the link ends this task: not one byte more
