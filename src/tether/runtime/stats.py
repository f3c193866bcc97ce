"""The figures of one connection."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from tether.core.cause import Cause, Code
from tether.core.events import Kind
from tether.core.lifecycle import Status
from tether.observe.tally import Tally
from tether.runtime.engine import Engine

_NONE: Mapping[Code, int] = MappingProxyType({})


class Stats(NamedTuple):
    """Figures of one connection since it was made. Durations in seconds.

    Attributes:
        type: the technology, such as ``redis``.
        endpoint: where, without secrets.
        cause: of the last loss or failed attempt; ``None`` while connected.
        last_error: one redacted line about what ended the last connection or attempt; stays after a reconnect.
        attempts: dials begun.
        connects: dials that got all the way.
        losses: connections lost.
        failed_attempts: dials that failed.
        probes_failed: probes without a good answer.
        stalls: times that this process's own loop was late for a verdict.
        callbacks_failed: callbacks that raised or took too long.
        dropped: callback calls and messages dropped because a queue was full; exact, also while no event has told it.
        uptime: total time connected, the present connection included.
        session_uptime: time that the present connection has been up; 0 while down.
        down_for: how long the present outage, or first start, has lasted; ``None`` while connected or stopped.
        last_connected: when the latest connection came up (aware UTC); ``None`` before any.
        last_reconnect: the same of the latest one after a loss.
        last_reconnect_latency: from noticing the latest loss that healed to being connected again.
        reconnect_attempts: dials begun, without the first one of each ``start()``.
        reconnects: those of them that connected.
        reconnect_failures: those of them that failed, by cause.
        latencies: how many reconnect latencies fell into each of ``tether.observe.tally.LATENCY_BUCKETS``, and above.
        latency_sum: all of them together.
        next_attempt_in: until the next dial, or ``None`` when none is due.
    """

    type: str
    endpoint: str
    status: Status
    paused: bool
    degraded: bool
    flapping: bool
    generation: int
    retry_count: int
    cause: Cause | None
    last_error: str
    attempts: int
    connects: int
    losses: int
    failed_attempts: int
    probes_failed: int
    stalls: int
    callbacks_failed: int
    dropped: int
    uptime: float
    session_uptime: float
    down_for: float | None
    last_connected: datetime | None
    last_reconnect: datetime | None
    last_reconnect_latency: float | None
    reconnect_attempts: int
    reconnects: int
    reconnect_failures: Mapping[Code, int]
    latencies: tuple[int, ...]
    latency_sum: float
    next_attempt_in: float | None


def stats_of(engine: Engine[Any], tally: Tally, dropped: int) -> Stats:
    """Return an engine's figures as they are now; ``dropped`` is counted where it happens, not by events."""
    link, counts, now = engine.link, tally.counts, engine.now()
    session = now - link.since if engine.up else 0.0
    return Stats(
        type=engine.connector.kind,
        endpoint=engine.connector.endpoint,
        status=link.status,
        paused=link.paused,
        degraded=link.degraded,
        flapping=link.is_flapping(now, engine.plan.stable_after),
        generation=link.generation,
        retry_count=link.retry_count,
        cause=link.cause,
        last_error=tally.last_error,
        attempts=counts.get(Kind.ATTEMPT_STARTED, 0),
        connects=counts.get(Kind.CONNECTED, 0) + counts.get(Kind.RECONNECTED, 0),
        losses=counts.get(Kind.LOST, 0),
        failed_attempts=counts.get(Kind.ATTEMPT_FAILED, 0),
        probes_failed=counts.get(Kind.PROBE_FAILED, 0),
        stalls=counts.get(Kind.STALLED, 0),
        callbacks_failed=counts.get(Kind.CALLBACK_FAILED, 0),
        dropped=dropped,
        uptime=engine.uptime + session,
        session_uptime=session,
        down_for=None if link.down_since is None else now - link.down_since,
        last_connected=tally.last_connected,
        last_reconnect=tally.last_reconnect,
        last_reconnect_latency=tally.last_latency,
        reconnect_attempts=tally.reconnect_attempts,
        reconnects=tally.reconnects,
        reconnect_failures=MappingProxyType(dict(tally.failures)) if tally.failures else _NONE,
        latencies=tally.latencies,
        latency_sum=tally.latency_sum,
        next_attempt_in=None if link.due_at is None else max(0.0, link.due_at - now),
    )
