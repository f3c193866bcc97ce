"""Events: everything that happens, as frozen past-tense facts.

Logs, history, metrics, alerts and pages are subscribers of these and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from tether.core.cause import Cause
from tether.core.lifecycle import Status

_EMPTY: Mapping[str, Any] = MappingProxyType({})


def _nothing() -> Mapping[str, Any]:
    return _EMPTY


class Kind(StrEnum):
    """What happened."""

    STARTED = "started"
    ATTEMPT_STARTED = "attempt_started"
    ATTEMPT_FAILED = "attempt_failed"
    RETRY_SCHEDULED = "retry_scheduled"
    CONNECTED = "connected"
    """The first connection of a run."""
    RECONNECTED = "reconnected"
    LOST = "lost"
    GAVE_UP = "gave_up"
    REVIVED = "revived"
    STOPPED = "stopped"
    PAUSED = "paused"
    RESUMED = "resumed"
    DEGRADED = "degraded"
    RECOVERED = "recovered"
    """No longer degraded: what could not be restored before has been now."""
    PROBE_FAILED = "probe_failed"
    EVIDENCE = "evidence"
    """A second detector's report of a loss that is known already, or a late error of an old generation."""
    STALLED = "stalled"
    """The process's own event loop was late; a verdict about the peer was held back."""
    HOST_RESUMED = "host_resumed"
    """The host was asleep (``elapsed`` seconds); what this connection is worth is found out at once."""
    GAP = "gap"
    """Messages may have been missed while the connection was down."""
    DROPPED = "dropped"
    """Something bounded was full: ``detail`` says what, and how many were dropped since the last time it was told."""
    CALLBACK_FAILED = "callback_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconnectEvent:
    """One thing that happened to one connection.

    Attributes:
        kind: what happened.
        connection: the connection's name.
        type: its technology, such as ``redis``.
        status: the status after it.
        timestamp: aware UTC time of day, for people; never used for durations.
        generation: number of the dial that the connection (or attempt) came from.
        retry_count: failed attempts in a row, 1-based once one has failed.
        cause: why, for losses and failed attempts.
        error: the original exception. Its text may hold secrets: show ``message`` instead.
        message: one redacted line about ``error``.
        endpoint: where, without secrets.
        delay: seconds until the next attempt (``retry_scheduled``), else ``None``.
        elapsed: seconds that it took: down time so far (``retry_scheduled``) or in all (``connected``,
            ``reconnected``), up time (``lost``), lateness (``stalled``), time asleep (``host_resumed``).
        detail: more, by kind; plain values only. ``docs/reference/events.md`` lists the keys.
    """

    kind: Kind
    connection: str
    status: Status
    timestamp: datetime
    type: str = ""
    generation: int = 0
    retry_count: int = 0
    cause: Cause | None = None
    error: BaseException | None = field(default=None, compare=False, repr=False)
    message: str = ""
    endpoint: str = ""
    delay: float | None = None
    elapsed: float | None = None
    detail: Mapping[str, Any] = field(default_factory=_nothing)

    def without_error(self) -> ReconnectEvent:
        """Return the event without its exception, fit to be kept: an exception keeps whole frames alive."""
        cause = None if self.cause is None else replace(self.cause, error=None)
        return replace(self, error=None, cause=cause)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON, without secrets."""
        cause = self.cause
        return {
            "kind": self.kind.value,
            "connection": self.connection,
            "type": self.type,
            "status": self.status.value,
            "timestamp": self.timestamp.isoformat(),
            "generation": self.generation,
            "retry_count": self.retry_count,
            "cause": None if cause is None else cause.code.value,
            "cause_detail": "" if cause is None else cause.detail,
            "phase": None if cause is None else cause.phase.value,
            "message": self.message,
            "endpoint": self.endpoint,
            "delay": self.delay,
            "elapsed": self.elapsed,
            "detail": dict(self.detail),
        }
