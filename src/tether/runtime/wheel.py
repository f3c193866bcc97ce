"""One timer wheel per event loop: ten thousand idle connections cost one timer, not ten thousand sleeping tasks."""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
from collections.abc import Callable
from typing import Any, Self
from weakref import WeakKeyDictionary, ref

logger = logging.getLogger("tether.wheel")

TICK = 0.25
"""Seconds. Long timers that fall into one tick share it, and go off at its beginning: never late."""

EXACT_BELOW = 8 * TICK
"""Seconds. A shorter timer gets a timer of its own: rounding it would change it too much."""


class Timer:
    """A pending callback; ``cancel()`` forgets it."""

    __slots__ = ("_args", "_callback", "_handle")

    def __init__(self, callback: Callable[..., None], args: tuple[Any, ...]) -> None:
        self._callback: Callable[..., None] | None = callback
        self._args = args
        self._handle: asyncio.TimerHandle | None = None

    def arm(self, loop: asyncio.AbstractEventLoop, when: float) -> Self:
        """Go off at ``when`` by a timer of its own."""
        self._handle = loop.call_at(when, self.fire)
        return self

    def cancel(self) -> None:
        """Forget the callback. Idempotent."""
        self._callback = None
        self._args = ()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def fire(self) -> None:
        """Call the callback, once, unless cancelled."""
        callback, args = self._callback, self._args
        self.cancel()
        if callback is not None:
            callback(*args)


class TimerWheel:
    """Timers of one loop, sorted into ticks."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # Weak: a loop that is dropped without being closed must not be kept by its own wheel.
        self._loop_ref = ref(loop)
        self._slots: dict[int, list[Timer]] = {}
        self._order: list[int] = []
        self._armed: tuple[int, asyncio.TimerHandle] | None = None

    def call_later(self, delay: float, callback: Callable[..., None], *args: Any) -> Timer:
        """Call ``callback(*args)`` after ``delay`` seconds, or up to one tick earlier."""
        timer = Timer(callback, args)
        loop = self._loop()
        when = loop.time() + delay
        if delay < EXACT_BELOW:
            return timer.arm(loop, when)
        slot = math.floor(when / TICK)
        timers = self._slots.get(slot)
        if timers is None:
            self._slots[slot] = [timer]
            heapq.heappush(self._order, slot)
            self._arm()
        else:
            timers.append(timer)
        return timer

    def _loop(self) -> asyncio.AbstractEventLoop:
        loop = self._loop_ref()
        assert loop is not None
        return loop

    def _arm(self) -> None:
        """Have one loop timer for the earliest slot."""
        first = self._order[0] if self._order else None
        if self._armed is not None:
            if self._armed[0] == first:
                return
            self._armed[1].cancel()
            self._armed = None
        if first is not None:
            self._armed = (first, self._loop().call_at(first * TICK, self._tick, first))

    def _tick(self, slot: int) -> None:
        self._armed = None
        if self._order and self._order[0] == slot:
            heapq.heappop(self._order)
        for timer in self._slots.pop(slot, ()):
            try:
                timer.fire()
            except Exception:
                logger.exception("a timer's callback failed")
        self._arm()


_wheels: WeakKeyDictionary[asyncio.AbstractEventLoop, TimerWheel] = WeakKeyDictionary()


def wheel_of(loop: asyncio.AbstractEventLoop) -> TimerWheel:
    """Return the loop's wheel, made on first use."""
    wheel = _wheels.get(loop)
    if wheel is None:
        wheel = _wheels[loop] = TimerWheel(loop)
    return wheel
