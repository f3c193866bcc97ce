"""Backoffs: how long to wait before the next attempt.

A backoff is any callable ``retry_count (0-based) -> seconds``: write ``lambda n: 0.5 * (n + 1)`` if you like. Those
here never overflow, draw their jitter anew for each delay and apply it after the cap. They are stateless: share them.

Every function takes ``random``, a :class:`random.Random`, as the source of its jitter; by default the module's own.
"""

from __future__ import annotations

import random as _random

from tether.core import backoff as _core
from tether.core.backoff import Backoff, Rand
from tether.core.duration import Duration, seconds
from tether.errors import ConfigError

__all__ = [
    "Backoff",
    "decorrelated_jitter",
    "exponential_backoff",
    "fixed_interval",
    "full_jitter",
    "grpc_backoff",
    "jittered_backoff",
    "linear_backoff",
]


def exponential_backoff(
    base: Duration = 1,
    factor: float = 2,
    maximum: Duration | None = None,
    jitter: float | None = None,
    *,
    random: _random.Random | None = None,
) -> Backoff:
    """``min(maximum, base · factorⁿ)``, spread by ± ``jitter`` (0.1 is ±10 %) after the cap.

    Args:
        base: the first delay.
        factor: growth per failure, at least 1.
        maximum: the cap before jitter; ``None`` for none (delays stay finite all the same).
        jitter: a fraction in [0, 1]; ``None`` for none.
        random: the source of the jitter.

    Raises:
        ConfigError: a value that cannot work.
    """
    return _core.Exponential(_first(base), _factor(factor), _cap(maximum), _fraction(jitter), _source(random))


def linear_backoff(base: Duration = 1) -> Backoff:
    """``base · (n + 1)``."""
    return _core.Linear(_first(base))


def fixed_interval(interval: Duration = 1) -> Backoff:
    """Return ``interval``, always."""
    return _core.Fixed(min(_core.CEILING, seconds(interval, what="interval")))


def jittered_backoff(
    base: Duration = 1, max_jitter: Duration = 1, *, random: _random.Random | None = None
) -> Backoff:
    """``base · 2ⁿ + U[0, max_jitter)``: never earlier than the nominal delay. ``max_jitter`` may be 0."""
    return _core.Jittered(
        _first(base), min(_core.CEILING, seconds(max_jitter, what="max_jitter")), _source(random)
    )


def full_jitter(
    base: Duration = 1,
    factor: float = 2,
    maximum: Duration | None = None,
    *,
    random: _random.Random | None = None,
) -> Backoff:
    """``U[0, min(maximum, base · factorⁿ)]`` (AWS Architecture Blog, 'Exponential Backoff And Jitter')."""
    return _core.FullJitter(_first(base), _factor(factor), _cap(maximum), _source(random))


def decorrelated_jitter(
    base: Duration = 1, maximum: Duration = 60, *, random: _random.Random | None = None
) -> Backoff:
    """``U[base, min(maximum, base · 3ⁿ⁺¹)]``: the stateless form of AWS's decorrelated jitter."""
    low, high = (
        min(_core.CEILING, seconds(value, what=what, positive=True))
        for what, value in (("base", base), ("maximum", maximum))
    )
    if high < low:
        raise ConfigError(f"maximum: {high:g} s is less than base, {low:g} s; make it at least as long")
    return _core.Decorrelated(low, high, _source(random))


def grpc_backoff(*, random: _random.Random | None = None) -> Backoff:
    """1 s × 1.6ⁿ up to 120 s, ±20 % after the cap, counted from the *start* of the failed attempt.

    The numbers and the rule are gRPC's (``doc/connection-backoff.md`` in grpc/grpc).
    """
    return _core.Exponential(1.0, 1.6, 120.0, 0.2, _source(random), from_attempt_start=True)


def _source(random: _random.Random | None) -> Rand:
    if random is None:
        return _random.random
    if not isinstance(random, _random.Random):
        raise ConfigError(f"random: {random!r} is no random.Random; pass random.Random(seed)")
    return random.random


def _first(base: Duration) -> float:
    return min(_core.CEILING, seconds(base, what="base"))


def _cap(maximum: Duration | None) -> float | None:
    return None if maximum is None else min(_core.CEILING, seconds(maximum, what="maximum", positive=True))


def _factor(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value < float("inf"):
        raise ConfigError(f"factor: {value!r} must be a number of at least 1 (2 doubles each delay)")
    return float(value)


def _fraction(value: object) -> float:
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ConfigError(f"jitter: {value!r} must be a fraction from 0 to 1 (0.1 is ±10 %)")
    return float(value)
