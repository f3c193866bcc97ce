"""How events reach those who listen: at once to subscribers, through a bounded queue to ``events()``."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Self

from tether.core.events import ReconnectEvent
from tether.ports import Subscriber

logger = logging.getLogger("tether.events")

STREAM_LIMIT = 1000
"""Events kept for one reader of ``events()``; then the oldest is dropped and counted."""


class EventStream:
    """``async for event in stream``: events since the stream was made; it ends when the connection is stopped.

    Attributes:
        dropped: events that a slow reader missed (oldest first).
    """

    def __init__(self, bus: Bus, limit: int = STREAM_LIMIT) -> None:
        self._bus = bus
        self._queue: deque[ReconnectEvent] = deque(maxlen=limit)
        self._waiters: list[asyncio.Future[None]] = []
        self._ended = False
        self.dropped = 0
        bus.streams.append(self)

    def push(self, event: ReconnectEvent) -> None:
        """Take one event; never waits."""
        if len(self._queue) == self._queue.maxlen:
            self.dropped += 1
        self._queue.append(event)
        self._wake()

    def end(self) -> None:
        """Let the reader finish what is there, then stop. Idempotent."""
        self._ended = True
        if self in self._bus.streams:
            self._bus.streams.remove(self)
        self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done() and not waiter.get_loop().is_closed():
                waiter.set_result(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ReconnectEvent:
        while not self._queue:
            if self._ended:
                raise StopAsyncIteration
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        return self._queue.popleft()

    def abandon(self) -> object:
        """End, without waking anybody: those who wait are another process's. Return them."""
        self._ended = True
        left, self._waiters = self._waiters, []
        return left

    async def aclose(self) -> None:
        """Stop listening. Idempotent."""
        self._queue.clear()
        self.end()


class Bus:
    """Tells the events of one connection to its subscribers and streams."""

    __slots__ = ("streams", "subscribers")

    def __init__(self, subscribers: tuple[Subscriber, ...] = ()) -> None:
        self.subscribers = subscribers
        self.streams: list[EventStream] = []

    def publish(self, event: ReconnectEvent) -> None:
        """Tell one event. A subscriber that fails is logged and does not stop the others."""
        for subscriber in self.subscribers:
            try:
                subscriber(event)
            except Exception:
                logger.exception("a subscriber of events failed")
        for stream in self.streams:
            stream.push(event)

    def abandon_streams(self) -> object:
        """Forget the streams of another process; return what waits on them."""
        streams, self.streams = self.streams, []
        return [stream.abandon() for stream in streams]

    def end_streams(self) -> None:
        """End every stream: the connection was stopped."""
        for stream in tuple(self.streams):
            stream.end()
