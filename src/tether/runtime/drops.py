"""What a bounded queue has dropped: counted at once, told in bunches.

An event per dropped message would push everything else out of the history, exactly when it is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

TOLD_EVERY = 1.0
"""Seconds between two events about drops of the same queue."""


class Drops:
    """Adds up the drops of one queue: the first is told at once, what follows at most once in ``TOLD_EVERY``.

    A timer runs only while there is something to hold back, and ``flush()`` ends it.

    Args:
        tell: called with the number of drops since the last time.

    Attributes:
        count: drops in all, also those that were not told yet.
    """

    __slots__ = ("_loop", "_tell", "_timer", "_untold", "count")

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell = tell
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._untold = 0
        self.count = 0

    @property
    def is_holding_back(self) -> bool:
        """Whether a timer runs."""
        return self._timer is not None

    def add(self, count: int = 1) -> None:
        """Count drops; tell them now or soon."""
        self.count += count
        self._untold += count
        loop = asyncio.get_running_loop()
        if self._timer is None or self._loop is not loop:  # a timer of a loop that is gone never goes off
            self._loop = loop
            self._tell_rest()

    def flush(self) -> None:
        """Tell the rest now. No timer is left."""
        if self._timer is not None:
            if self._loop is not None and not self._loop.is_closed():
                self._timer.cancel()
            self._timer = None
        if self._untold:
            self._tell_now()

    def abandon(self) -> object:
        """Forget, untold and untouched, what another process has held back; return it."""
        left, self._timer, self._untold = self._timer, None, 0
        return left

    def _tell_rest(self) -> None:
        """Tell what there is and hold back what comes; when there is nothing, the flood is over."""
        self._timer = None
        if self._untold and self._loop is not None:
            self._timer = self._loop.call_later(TOLD_EVERY, self._tell_rest)
            self._tell_now()

    def _tell_now(self) -> None:
        count, self._untold = self._untold, 0
        self._tell(count)
