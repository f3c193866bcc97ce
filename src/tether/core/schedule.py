"""When the next attempt is due: the cause decides which clock applies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from tether.core.backoff import CEILING, Backoff, Rand, starts_at_attempt
from tether.core.cause import Cause, Recovery

QUICK = 0.1
"""Seconds. After a stable connection the first dial waits only U[0, min(QUICK, interval(0))]."""

SLOW_FIRST, SLOW_LAST, SLOW_JITTER = 60.0, 900.0, 0.1
"""A credential that did work is tried again after 60 s × 2 … 15 min (±10 %): rotations give transient refusals."""

WORTHLESS_AFTER = 2
"""Refusals after which a credential that never worked is parked: a wrong password never hammers a server. Twice as many
of different credentials, and the pauses grow as if it were one: a provider of ever new ones must not hammer either."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How one connection tries again. All durations in seconds.

    Attributes:
        interval: the backoff.
        max_retries: attempts after a loss (a first start: one more); ``None`` for ever.
        stable_after: how long a connection must live before the backoff forgets.
        reauth_delay: pause between a refused login and the next one.
        quick_first: whether the first dial after a stable connection skips the backoff.
    """

    interval: Backoff
    max_retries: int | None = None
    stable_after: float = 10.0
    reauth_delay: float = 1.0
    quick_first: bool = True


class Wait(NamedTuple):
    """How long to wait, and how far the backoff has grown by it."""

    delay: float
    level: int


def delay_after_loss(
    plan: Plan,
    cause: Cause,
    *,
    level: int,
    stable: bool,
    now: float,
    rand: Rand,
    refusals: int = 1,
    denials: int = 1,
) -> Wait:
    """Return the wait before the first attempt after a loss, with the refusals that the link will count."""
    if stable and plan.quick_first and cause.recovery is Recovery.BACKOFF and cause.hint is None:
        return Wait(rand() * min(QUICK, _interval(plan, 0)), 0)
    level = 0 if stable else level
    return delay_after_failure(
        plan, cause, level=level, refusals=refusals, denials=denials, started=now, now=now, rand=rand
    )


def delay_after_failure(
    plan: Plan,
    cause: Cause,
    *,
    level: int,
    refusals: int,
    started: float,
    now: float,
    rand: Rand,
    denials: int = 0,
) -> Wait:
    """Return the wait after a failed attempt that began at ``started``; never earlier than the peer's hint asks."""
    hinted = cause.hint.delay(now, rand()) if cause.hint else 0.0
    if cause.recovery is Recovery.REAUTHENTICATE:
        return Wait(max(hinted, _reauthentication(plan, refusals, denials, rand)), level)
    if cause.recovery is Recovery.WAIT_FOR_SERVICE and hinted > 0:
        return Wait(hinted, level)
    delay = _interval(plan, level)
    if starts_at_attempt(plan.interval):
        delay = max(0.0, delay - (now - started))
    return Wait(max(hinted, delay), level + 1)


def _reauthentication(plan: Plan, refusals: int, denials: int, rand: Rand) -> float:
    over = max(refusals - WORTHLESS_AFTER, denials - 2 * WORTHLESS_AFTER)
    if over < 0:
        return plan.reauth_delay
    doublings = min(over, 10)
    return min(SLOW_LAST, SLOW_FIRST * 2.0**doublings) * (1 + SLOW_JITTER * (2 * rand() - 1))


def _interval(plan: Plan, level: int) -> float:
    """Ask the backoff, and bound what a user's own callable may say."""
    delay = float(plan.interval(level))
    return 0.0 if math.isnan(delay) else min(max(0.0, delay), CEILING)
