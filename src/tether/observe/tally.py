"""Counts what happened to one connection: the figures behind ``stats()``, the API and the metrics."""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime

from tether.core.cause import Code
from tether.core.events import Kind, ReconnectEvent

LATENCY_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Upper bounds, in seconds, of the histogram of reconnect latencies; what is longer has a bucket of its own."""


class Tally:
    """Counts the events of one connection since it was made.

    The dial that ``start()`` makes is a first connect; every later one is a reconnect attempt, and ends as a success or
    as a failure (or is cut short, by ``stop()`` say).

    Attributes:
        counts: events by kind.
        reconnect_attempts: dials begun, without first connects.
        reconnects: those of them that connected.
        failures: those of them that failed, by cause.
        last_error: one redacted line about what ended the last connection or attempt.
        last_connected: when the latest connection came up (aware UTC).
        last_reconnect: when the latest one after a loss came up.
        last_latency: seconds from noticing the latest loss that healed to being connected again.
        latencies: how many such times fell into each of ``LATENCY_BUCKETS``, and above; ``()`` before the first.
        latency_sum: all of them together.
    """

    __slots__ = (
        "_first_dial",
        "counts",
        "failures",
        "last_connected",
        "last_error",
        "last_latency",
        "last_reconnect",
        "latencies",
        "latency_sum",
        "reconnect_attempts",
        "reconnects",
    )

    def __init__(self) -> None:
        self.counts: dict[Kind, int] = {}
        self.reconnect_attempts = self.reconnects = 0
        self.failures: dict[Code, int] = {}
        self.last_error = ""
        self.last_connected: datetime | None = None
        self.last_reconnect: datetime | None = None
        self.last_latency: float | None = None
        self.latencies: tuple[int, ...] = ()
        self.latency_sum = 0.0
        self._first_dial: int | None = None  # its generation; 0 when it is due

    def __call__(self, event: ReconnectEvent) -> None:
        """Count one event."""
        self.counts[event.kind] = self.counts.get(event.kind, 0) + 1
        if event.message and event.kind in {Kind.LOST, Kind.ATTEMPT_FAILED}:
            self.last_error = event.message
        match event.kind:
            case Kind.STARTED:
                self._first_dial = 0
            case Kind.ATTEMPT_STARTED if self._first_dial == 0:
                self._first_dial = event.generation
            case Kind.ATTEMPT_STARTED:
                self.reconnect_attempts += 1
            case Kind.ATTEMPT_FAILED if event.generation != self._first_dial:
                code = Code.UNKNOWN if event.cause is None else event.cause.code
                self.failures[code] = self.failures.get(code, 0) + 1
            case Kind.CONNECTED | Kind.RECONNECTED:
                self._connected(event)

    def _connected(self, event: ReconnectEvent) -> None:
        self.last_connected = event.timestamp
        if event.generation != self._first_dial:
            self.reconnects += 1
        if event.kind is Kind.RECONNECTED:
            self.last_reconnect = event.timestamp
            self._measure(event.elapsed or 0.0)

    def _measure(self, latency: float) -> None:
        self.last_latency = latency
        self.latency_sum += latency
        counts = list(self.latencies or (0,) * (len(LATENCY_BUCKETS) + 1))
        counts[bisect_left(LATENCY_BUCKETS, latency)] += 1
        self.latencies = tuple(counts)
