"""How long to wait before the next attempt.

A backoff is any callable ``retry_count (0-based) -> seconds``. The ones here are stateless, so that one object can
serve any number of connections, tasks and threads. Three things that famous clients get wrong hold for all of them:
the exponent is clamped before it is raised (no overflow at failure 1024), jitter is drawn anew for each delay, and it
is applied *after* the cap, so that thousands of clients at the cap are still dispersed.

The random source is a field: this module draws no dice of its own. ``tether.backoff`` has the constructors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from tether.errors import ConfigError

Backoff: TypeAlias = Callable[[int], float]
Rand: TypeAlias = Callable[[], float]

CEILING = 1e9
"""Seconds (some 31 years). Without a ``maximum`` a delay still stays finite, whatever the count."""


MOST = 10**9
"""Failures beyond this many make no difference; a count beyond all floats would overflow by itself."""

_EXACT = 700.0
"""Below this exponent of e a power fits a float."""


def _check(count: int) -> int:
    if count < 0:
        raise ConfigError(f"retry_count: {count} is negative; it counts failed attempts, from 0")
    return min(count, MOST)


def _power(base: float, factor: float, count: int, cap: float) -> float:
    """Return ``min(cap, base * factor ** count)`` without ever raising to a power that overflows."""
    if base <= 0:
        return 0.0
    growth = min(count, MOST) * math.log(factor)
    if math.log(base) + growth >= math.log(cap):
        return cap
    if growth < _EXACT:
        return min(cap, base * factor**count)
    return min(cap, math.exp(math.log(base) + growth))


@dataclass(frozen=True, slots=True)
class Exponential:
    """``min(maximum, base · factorⁿ)``, times U[1 - jitter, 1 + jitter]."""

    base: float
    factor: float
    maximum: float | None
    jitter: float
    rand: Rand = field(repr=False, compare=False)
    from_attempt_start: bool = False
    """The delay is counted from the start of the failed attempt: a slow failure eats the wait (gRPC)."""

    def __call__(self, retry_count: int) -> float:
        """Return the seconds to wait after ``retry_count`` (0-based) earlier failures."""
        delay = _power(self.base, self.factor, _check(retry_count), self.maximum or CEILING)
        return delay * (1 + self.jitter * (2 * self.rand() - 1)) if self.jitter else delay


@dataclass(frozen=True, slots=True)
class Linear:
    """``base · (n + 1)``."""

    base: float

    def __call__(self, retry_count: int) -> float:
        """Return the seconds to wait after ``retry_count`` (0-based) earlier failures."""
        return min(CEILING, self.base * min(_check(retry_count) + 1, CEILING))


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always the same interval."""

    interval: float

    def __call__(self, retry_count: int) -> float:
        """Return the interval in seconds."""
        _check(retry_count)
        return self.interval


@dataclass(frozen=True, slots=True)
class Jittered:
    """``base · 2ⁿ + U[0, max_jitter)``: jitter that only ever adds."""

    base: float
    max_jitter: float
    rand: Rand = field(repr=False, compare=False)

    def __call__(self, retry_count: int) -> float:
        """Return the seconds to wait after ``retry_count`` (0-based) earlier failures."""
        return _power(self.base, 2.0, _check(retry_count), CEILING) + self.max_jitter * self.rand()


@dataclass(frozen=True, slots=True)
class FullJitter:
    """``U[0, min(maximum, base · factorⁿ)]`` (AWS Architecture Blog, 'Exponential Backoff And Jitter')."""

    base: float
    factor: float
    maximum: float | None
    rand: Rand = field(repr=False, compare=False)

    def __call__(self, retry_count: int) -> float:
        """Return the seconds to wait after ``retry_count`` (0-based) earlier failures."""
        return _power(self.base, self.factor, _check(retry_count), self.maximum or CEILING) * self.rand()


@dataclass(frozen=True, slots=True)
class Decorrelated:
    """``U[base, min(maximum, base · 3ⁿ⁺¹)]``: the stateless form of AWS's decorrelated jitter."""

    base: float
    maximum: float
    rand: Rand = field(repr=False, compare=False)

    def __call__(self, retry_count: int) -> float:
        """Return the seconds to wait after ``retry_count`` (0-based) earlier failures."""
        top = max(self.base, _power(self.base, 3.0, _check(retry_count) + 1, self.maximum))
        return self.base + (top - self.base) * self.rand()


def starts_at_attempt(backoff: Backoff) -> bool:
    """Whether ``backoff`` counts its delays from the start of the failed attempt."""
    return bool(getattr(backoff, "from_attempt_start", False))
