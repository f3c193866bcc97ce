"""What a toxic does to one direction of one connection.

Here: one small class for each toxic, told of each piece of data and of the end of the stream.
Not here: reading and writing (``flow``), and which connections have which toxics (``server``).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from tether.testing.proxy.toxics import (
    Bandwidth,
    Latency,
    LimitData,
    Placed,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
    Toxic,
)

__all__ = ["Chunk", "Effect", "Link", "Next", "effect_of"]

T = TypeVar("T", bound=Toxic)

_TICK = 0.1  # seconds of data that a narrow line sends at once, as Toxiproxy does


@dataclass(slots=True)
class Chunk:
    """Bytes on their way, and the loop's time at which they may leave."""

    data: bytes
    due: float


Next = Callable[[Chunk], Awaitable[None]]
"""Passes a chunk on to the next toxic, or to the peer."""


class Link(Protocol):
    """The connection, as far as a toxic needs it."""

    def end(self, *, reset: bool = False) -> None:
        """Close both sides: orderly (FIN), or with a reset (RST)."""


class Effect(Generic[T]):
    """A toxic at work on one direction of one connection.

    Args:
        placed: the toxic.
        link: the connection.
        random: draws whether this connection is affected at all, jitter and sizes.
    """

    def __init__(self, placed: Placed, *, link: Link, random: random.Random) -> None:
        self.placed = placed
        self.link = link
        self.random = random
        self.loop = asyncio.get_running_loop()
        self.active = random.random() < placed.toxicity
        self._changed = asyncio.Event()
        self.begin()

    @property
    def toxic(self) -> T:
        """The toxic, as it is now."""
        toxic: Any = self.placed.toxic  # `effect_of` has chosen this class by its type
        return toxic  # type: ignore[no-any-return]

    def change(self, placed: Placed) -> None:
        """Go on with other values; whatever waits looks again."""
        self.stop()
        self.placed = placed
        self.active = self.random.random() < placed.toxicity
        self.begin()

    def remove(self) -> None:
        """Do nothing any more; what is held back passes at once."""
        self.stop()
        self.active = False

    def stop(self) -> None:
        """Wake whatever waits, and drop timers."""
        self._changed.set()
        self._changed = asyncio.Event()

    def begin(self) -> None:
        """The toxic, or other values of it, takes effect."""

    async def data(self, chunk: Chunk, forward: Next) -> None:
        """Take a chunk, and forward it, or not."""
        await forward(chunk)

    async def ended(self) -> None:
        """The stream is at its end; it is passed on when this returns."""

    async def wait_until(self, when: float | None) -> None:
        """Wait until the loop's time ``when`` (None: for ever), or until the toxic is changed or removed."""
        try:
            async with asyncio.timeout_at(when):
                await self._changed.wait()
        except TimeoutError:
            pass


class _Latency(Effect[Latency]):
    async def data(self, chunk: Chunk, forward: Next) -> None:
        jitter = self.random.uniform(-1, 1) * self.toxic.jitter
        chunk.due += max(0.0, self.toxic.latency + jitter)
        await self.wait_until(chunk.due)
        await forward(chunk)


class _Bandwidth(Effect[Bandwidth]):
    _free_at = 0.0  # when the line has sent all that it was given

    async def data(self, chunk: Chunk, forward: Next) -> None:
        sent = 0
        while sent < len(chunk.data):
            size = await self._turn(len(chunk.data) - sent)
            await forward(Chunk(chunk.data[sent : sent + size], self.loop.time()))
            sent += size

    async def _turn(self, wanted: int) -> int:
        """Wait until the line has sent some of ``wanted`` bytes; return how many."""
        while self.active and self.toxic.rate == 0:
            await self.wait_until(None)
        if not self.active:
            return wanted
        rate = self.toxic.rate
        size = min(wanted, max(1, int(rate * _TICK)))
        self._free_at = max(self._free_at, self.loop.time()) + size / rate
        await self.wait_until(self._free_at)
        return size


class _SlowClose(Effect[SlowClose]):
    async def ended(self) -> None:
        await self.wait_until(self.loop.time() + self.toxic.delay)


class _Timeout(Effect[Timeout]):
    _timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        if self.active and self.toxic.timeout > 0:
            self._timer = self.loop.call_later(self.toxic.timeout, self.link.end)

    def stop(self) -> None:
        super().stop()
        if self._timer is not None:
            self._timer.cancel()

    def remove(self) -> None:
        # What was swallowed is missing in the stream: it cannot go on. Toxiproxy closes it, too.
        if self.active:
            self.link.end()
        super().remove()

    async def data(self, chunk: Chunk, forward: Next) -> None:
        """Swallow it."""

    async def ended(self) -> None:
        self.link.end()


class _ResetPeer(Effect[ResetPeer]):
    async def data(self, chunk: Chunk, forward: Next) -> None:
        await self._reset()
        await forward(chunk)  # only if the toxic was taken away meanwhile

    async def ended(self) -> None:
        await self._reset()

    async def _reset(self) -> None:
        began = self.loop.time()
        while self.active:
            if self.loop.time() - began >= self.toxic.timeout:
                self.link.end(reset=True)
                return await self.wait_until(None)
            await self.wait_until(began + self.toxic.timeout)
        return None


class _Slicer(Effect[Slicer]):
    async def data(self, chunk: Chunk, forward: Next) -> None:
        sent = 0
        while sent < len(chunk.data):
            size = self._size() if self.active else len(chunk.data)
            await forward(Chunk(chunk.data[sent : sent + size], self.loop.time()))
            sent += size
            await self._pause()

    def _size(self) -> int:
        return self.toxic.average_size + self.random.randint(
            -self.toxic.size_variation, self.toxic.size_variation
        )

    async def _pause(self) -> None:
        if self.active and self.toxic.delay:
            await self.wait_until(self.loop.time() + self.toxic.delay)
        else:
            await asyncio.sleep(0)  # other connections have their turn between two slices


class _LimitData(Effect[LimitData]):
    _passed = 0

    async def data(self, chunk: Chunk, forward: Next) -> None:
        part = chunk.data[: max(0, self.toxic.bytes - self._passed)]
        if part:
            self._passed += len(part)
            await forward(Chunk(part, chunk.due))
        if self._passed >= self.toxic.bytes:
            self.link.end()


_EFFECTS: dict[type[Toxic], Callable[..., Effect[Any]]] = {
    Latency: _Latency,
    Bandwidth: _Bandwidth,
    SlowClose: _SlowClose,
    Timeout: _Timeout,
    ResetPeer: _ResetPeer,
    Slicer: _Slicer,
    LimitData: _LimitData,
}


def effect_of(placed: Placed, *, link: Link, random: random.Random) -> Effect[Any]:
    """Put a toxic to work on one direction of one connection; to be called on the loop."""
    return _EFFECTS[type(placed.toxic)](placed, link=link, random=random)
