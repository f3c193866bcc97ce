"""Whether this host was asleep: the monotonic clock stands still meanwhile, another one does not.

Linux: ``CLOCK_BOOTTIME`` goes on. macOS: ``CLOCK_MONOTONIC`` goes on, and ``CLOCK_UPTIME_RAW``, by which Python's
timers go, stands still. Elsewhere nobody can tell: the clock of day is no help, for it is set at will.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

Clock = Callable[[], float]

LEAST_GAP = 2.0
"""Seconds. A shorter sleep changes nothing on a connection that its deadlines would not notice."""


def asleep_clock() -> Clock | None:
    """Return a clock that says for how many seconds this host has slept since its start; ``None``: it cannot tell."""
    if sys.platform == "linux":
        return _difference(time.CLOCK_BOOTTIME, time.CLOCK_MONOTONIC)
    if sys.platform == "darwin":
        return _difference(time.CLOCK_MONOTONIC, time.CLOCK_UPTIME_RAW)
    return None


def _difference(running: int, standing: int) -> Clock | None:
    def asleep() -> float:
        return time.clock_gettime(running) - time.clock_gettime(standing)

    try:
        asleep()
    except OSError:  # an old kernel, or a sandbox
        return None
    return asleep


class Suspensions:
    """Notices that a host has slept.

    Args:
        asleep: seconds that it has slept in all; grows only by sleeping.
    """

    __slots__ = ("_asleep", "_known")

    def __init__(self, asleep: Clock) -> None:
        self._asleep = asleep
        self._known = asleep()

    def gap(self) -> float:
        """Return for how long it has slept since the last gap; 0 when that was nothing to speak of."""
        now = self._asleep()
        gap = now - self._known
        if gap <= LEAST_GAP:
            return 0.0
        self._known = now
        return gap
