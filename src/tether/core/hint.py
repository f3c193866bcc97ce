"""Come-back hints: a peer that says when (and where) it wants to see us again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST = 86_400.0
"""A hint of more than a day is taken as a day: a mistyped date must not silence a connection for ever."""


@dataclass(frozen=True, slots=True)
class RetryHint:
    """When a peer allows the next attempt.

    Attributes:
        not_before: monotonic time, in seconds, before which nothing may be tried.
        endpoint: where to go instead, or ``None`` for the same place.
        reason: what the peer said, for people.
    """

    not_before: float
    endpoint: str | None = None
    reason: str = ""

    def delay(self, now: float, rand: float) -> float:
        """Return the seconds to wait from ``now``: what is left, h, plus U[0, h/4], so that a crowd disperses."""
        left = max(0.0, self.not_before - now)
        return left + rand * left / 4


def parse_retry_after(text: str, *, now: float, wall: datetime) -> RetryHint | None:
    """Read an HTTP ``Retry-After`` value: delta-seconds or an HTTP date (RFC 9110, 10.2.3).

    Args:
        text: the header's value.
        now: monotonic seconds.
        wall: the aware time of day that belongs to ``now``, to turn a date into a delay.

    Returns:
        The hint, or ``None`` when the value cannot be read.
    """
    wait = _delta(text.strip(), wall)
    if wait is None or not math.isfinite(wait):
        return None
    return RetryHint(now + min(max(0.0, wait), LONGEST), reason=f"Retry-After: {text.strip()[:64]}")


def _delta(text: str, wall: datetime) -> float | None:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return ((date if date.tzinfo else date.replace(tzinfo=UTC)) - wall).total_seconds()
