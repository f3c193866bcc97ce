"""When the next dial may be, told from the specification alone: an independent account of the runtime's waits."""

from __future__ import annotations

from tests.simulation.schedule import Options
from tether.core.cause import Cause, Code
from tether.core.events import ReconnectEvent

REAUTH_DELAY = 1.0
SLOW_FIRST, SLOW_LAST = 54.0, 990.0
"""Bounds of the waits of a credential that has been refused again and again (60 s … 15 min, ±10 %)."""


class Waits:
    """How long one connection is to wait, and how often it may try.

    Attributes:
        level: how far the backoff has grown.
        max_retries: as set at present.
        refusals: of the same credential in a row.
        worked: whether a login with the present credential has succeeded.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self.level = 0
        self.max_retries = options.max_retries
        self.refusals = 0
        self.worked = False
        self._credential: object = 0
        self._spent, self._extra = 0, 1

    # -- what happens -------------------------------------------------------------------------------------------------

    def started(self) -> None:
        """A new life."""
        self.level = self.refusals = self._spent = 0
        self._extra = 1

    def revived(self) -> None:
        """One more chance."""
        self._spent, self._extra = 0, 1
        self.refusals = min(self.refusals, 1)

    def connected(self) -> None:
        """A dial got all the way."""
        self._spent, self.worked = 0, True

    def credential_changed(self) -> None:
        """Someone says that there is a new one, or there is one."""
        self.refusals, self.worked = 0, False

    def dials_with(self, credential: object) -> None:
        """A dial presents ``credential``."""
        if credential != self._credential:
            self._credential = credential
            self.credential_changed()

    def failed(self, event: ReconnectEvent) -> bool:
        """A dial failed; return whether that was the last one."""
        code = _code(event)
        self._spent += code is not Code.OVERLOADED
        self.refusals += code is Code.AUTH
        worthless = code is Code.AUTH and not self.worked and self.refusals >= 2
        return worthless or self._is_exhausted()

    def lost(self, event: ReconnectEvent, *, stable: bool) -> bool:
        """A connection was lost; return whether no dial may follow."""
        self._spent = self._extra = 0
        if _code(event) is Code.AUTH:
            self.refusals = (0 if stable else self.refusals) + 1
        else:
            self.refusals = 0
        if stable:
            self.level = 0
        return self._is_exhausted()

    def _is_exhausted(self) -> bool:
        return self.max_retries is not None and self._spent >= self.max_retries + self._extra

    # -- what follows -------------------------------------------------------------------------------------------------

    def bounds(self, cause: Cause, now: float, *, quick: bool) -> tuple[float, float]:
        """Return the least and the longest wait that ``cause`` allows at ``now``, and count it."""
        hint = 0.0 if cause.hint is None else max(0.0, cause.hint.not_before - now)
        if quick and cause.hint is None and cause.code not in {Code.AUTH, Code.OVERLOADED}:
            return 0.0, min(0.1, self.interval(0)[1])
        if cause.code is Code.AUTH:
            return (SLOW_FIRST if self.refusals > 2 else REAUTH_DELAY), SLOW_LAST
        if cause.code is Code.OVERLOADED and hint > 0:
            return hint, hint * 1.25
        least, longest = self.interval(self.level)
        self.level += 1
        return max(least, hint), max(longest, hint * 1.25)

    def interval(self, level: int) -> tuple[float, float]:
        """Return the bounds of the backoff at ``level``."""
        options = self._options
        middle = min(options.maximum, options.base * options.factor ** min(level, 60))
        return middle * (1 - options.jitter), middle * (1 + options.jitter)

    def next_longest(self) -> float:
        """Return the longest wait that a failure or loss may lead to by the backoff."""
        return max(self.interval(self.level)[1], self.interval(0)[1])


def _code(event: ReconnectEvent) -> Code:
    return Code.UNKNOWN if event.cause is None else event.cause.code
