"""One timer wheel per event loop: ten thousand idle connections cost one timer, not ten thousand sleeping tasks."""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any, Self

logger = logging.getLogger("tether.wheel")

TICK = 0.25
"""Seconds. Long timers that fall into one tick share it, and go off at its beginning: never late."""

AT_ONCE = 16
"""Timers of one tick that are fired before the loop gets its turn."""

EXACT_BELOW = 8 * TICK
"""Seconds. A shorter timer gets a timer of its own: rounding it would change it too much."""


class Timer:
    """A pending callback; ``cancel()`` forgets it."""

    __slots__ = ("_args", "_callback", "_handle", "_slot", "_wheel")

    def __init__(self, callback: Callable[..., None], args: tuple[Any, ...]) -> None:
        self._callback: Callable[..., None] | None = callback
        self._args = args
        self._handle: asyncio.TimerHandle | None = None
        self._wheel: TimerWheel | None = None
        self._slot = 0

    def wait_alone(self, loop: asyncio.AbstractEventLoop, when: float) -> Self:
        """Go off at ``when``, by a timer of its own."""
        self._handle = loop.call_at(when, self.fire)
        return self

    def wait_in(self, wheel: TimerWheel, slot: int) -> Self:
        """Go off with a slot of a wheel."""
        self._wheel, self._slot = wheel, slot
        return self

    def cancel(self) -> None:
        """Forget the callback. Idempotent."""
        if self._handle is not None:
            self._handle.cancel()
        elif self._wheel is not None:
            self._wheel.forget(self._slot, self)
        self._callback, self._args, self._handle, self._wheel = None, (), None, None

    def fire(self) -> None:
        """Call the callback, once, unless cancelled."""
        callback, args = self._callback, self._args
        self._callback, self._args, self._handle, self._wheel = None, (), None, None
        if callback is not None:
            callback(*args)


class TimerWheel:
    """Timers of one loop, sorted into ticks."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: dict[int, dict[Timer, None]] = {}
        self._order: list[int] = []
        self._armed: int | None = None
        self._disarm: Callable[[], None] | None = None

    def call_later(self, delay: float, callback: Callable[..., None], *args: Any) -> Timer:
        """Call ``callback(*args)`` after ``delay`` seconds, or up to one tick earlier."""
        timer = Timer(callback, args)
        when = self._loop.time() + delay
        if delay < EXACT_BELOW:
            return timer.wait_alone(self._loop, when)
        slot = math.floor(when / TICK)
        if slot in self._slots:
            self._slots[slot][timer] = None
        else:
            self._slots[slot] = {timer: None}
            heapq.heappush(self._order, slot)
            self._arm()
        return timer.wait_in(self, slot)

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def forget(self, slot: int, timer: Timer) -> None:
        """Take a timer out of its slot; the last one takes the slot with it."""
        timers = self._slots.get(slot)
        if timers is None:
            return
        timers.pop(timer, None)
        if not timers:
            del self._slots[slot]
            self._arm()

    def _arm(self) -> None:
        """Have one loop timer, for the earliest slot that still has timers."""
        while self._order and self._order[0] not in self._slots:
            heapq.heappop(self._order)
        first = self._order[0] if self._order else None
        if first == self._armed:
            return
        if self._disarm is not None:
            self._disarm()
        self._armed, self._disarm = first, None
        if first is not None:
            self._disarm = self._loop.call_at(first * TICK, self._tick, first).cancel

    def _tick(self, slot: int) -> None:
        self._armed = self._disarm = None
        self._fire(iter(self._slots.pop(slot, ())))
        self._arm()

    def _fire(self, timers: Iterator[Timer]) -> None:
        """Fire some, and the rest after the loop had its turn: a thousand probes at once would stall it."""
        for timer in islice(timers, AT_ONCE):
            try:
                timer.fire()
            except Exception:
                logger.exception("a timer's callback failed")
        rest = next(timers, None)
        if rest is not None:
            self._loop.call_soon(self._fire, chain((rest,), timers))


_ATTRIBUTE = "_tether_timer_wheel"


def wheel_of(loop: asyncio.AbstractEventLoop) -> TimerWheel:
    """Return the loop's wheel, made on first use.

    It lives on the loop itself: from a table of this module it would keep the loop, and all that hangs on it, for ever.
    """
    wheel: TimerWheel | None = vars(loop).get(_ATTRIBUTE)
    if wheel is None:
        wheel = vars(loop)[_ATTRIBUTE] = TimerWheel(loop)
    return wheel
