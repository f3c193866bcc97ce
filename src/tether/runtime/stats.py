"""The figures of one connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tether.core.cause import Cause
from tether.core.events import Kind
from tether.core.lifecycle import Status
from tether.runtime.engine import Engine


@dataclass(frozen=True, slots=True)
class Stats:
    """Figures of one connection since it was made. Durations in seconds.

    Attributes:
        attempts: dials begun.
        connects: dials that got all the way.
        losses: connections lost.
        failed_attempts: dials that failed.
        probes_failed: probes without a good answer.
        stalls: times that this process's own loop was late for a verdict.
        callbacks_failed: callbacks that raised or took too long.
        dropped: callback calls and messages dropped because a queue was full.
        uptime: total time connected, the present connection included.
        next_attempt_in: until the next dial, or ``None`` when none is due.
    """

    status: Status
    paused: bool
    degraded: bool
    flapping: bool
    generation: int
    retry_count: int
    cause: Cause | None
    attempts: int
    connects: int
    losses: int
    failed_attempts: int
    probes_failed: int
    stalls: int
    callbacks_failed: int
    dropped: int
    uptime: float
    next_attempt_in: float | None


def stats_of(engine: Engine[Any]) -> Stats:
    """Return an engine's figures as they are now."""
    link, counts, now = engine.link, engine.counts, engine.now()
    return Stats(
        status=link.status,
        paused=link.paused,
        degraded=link.degraded,
        flapping=link.is_flapping(now, engine.plan.stable_after),
        generation=link.generation,
        retry_count=link.retry_count,
        cause=link.cause,
        attempts=counts.get(Kind.ATTEMPT_STARTED, 0),
        connects=counts.get(Kind.CONNECTED, 0) + counts.get(Kind.RECONNECTED, 0),
        losses=counts.get(Kind.LOST, 0),
        failed_attempts=counts.get(Kind.ATTEMPT_FAILED, 0),
        probes_failed=counts.get(Kind.PROBE_FAILED, 0),
        stalls=counts.get(Kind.STALLED, 0),
        callbacks_failed=counts.get(Kind.CALLBACK_FAILED, 0),
        dropped=counts.get(Kind.DROPPED, 0),
        uptime=engine.uptime + (now - link.since if engine.up else 0.0),
        next_attempt_in=None if link.due_at is None else max(0.0, link.due_at - now),
    )
