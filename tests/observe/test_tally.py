"""The figures of one connection: what counts as a reconnect attempt, and how it ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tether.core.cause import Cause, Code
from tether.core.events import Kind, ReconnectEvent
from tether.core.lifecycle import Status
from tether.observe.tally import LATENCY_BUCKETS, Tally

WHEN = datetime(2026, 11, 21, tzinfo=UTC)


def told(*events: tuple[Any, ...]) -> Tally:
    """Return a tally that has heard (kind, generation, cause's code, elapsed), a second apart."""
    tally = Tally()
    for n, (kind, generation, *more) in enumerate(events):
        code, elapsed = [*more, None, None][:2]
        tally(
            ReconnectEvent(
                kind=kind,
                connection="db",
                status=Status.CONNECTING,
                timestamp=WHEN + timedelta(seconds=n),
                generation=generation,
                cause=None if code is None else Cause(code),
                message="" if code is None else f"{code} happened",
                elapsed=elapsed,
            )
        )
    return tally


START = (Kind.STARTED, 0)
FAILED = Kind.ATTEMPT_FAILED
BEGAN = Kind.ATTEMPT_STARTED


def test_a_first_connect_is_no_reconnect_attempt() -> None:
    tally = told(START, (BEGAN, 1), (Kind.CONNECTED, 1))
    assert (tally.reconnect_attempts, tally.reconnects, tally.failures) == (0, 0, {})
    assert tally.last_connected == WHEN + timedelta(seconds=2)
    assert (tally.last_reconnect, tally.last_latency, tally.latencies) == (None, None, ())


def test_what_follows_a_first_dial_that_failed_counts() -> None:
    tally = told(
        START, (BEGAN, 1), (FAILED, 1, Code.REFUSED), (BEGAN, 2), (FAILED, 2, Code.TIMEOUT), (BEGAN, 3)
    )
    assert (tally.reconnect_attempts, tally.reconnects, tally.failures) == (2, 0, {Code.TIMEOUT: 1})
    assert tally.last_error == "timeout happened"


def test_each_start_has_a_first_dial_of_its_own() -> None:
    run = START, (BEGAN, 1), (Kind.CONNECTED, 1), (Kind.STOPPED, 1)
    tally = told(*run, START, (BEGAN, 2), (Kind.CONNECTED, 2))
    assert (tally.reconnect_attempts, tally.reconnects) == (0, 0)


def test_an_outage() -> None:
    tally = told(
        START,
        (BEGAN, 1),
        (Kind.CONNECTED, 1),
        (Kind.LOST, 1, Code.EOF),
        (BEGAN, 2),
        (FAILED, 2, Code.REFUSED),
        (BEGAN, 3),
        (FAILED, 3, Code.REFUSED),
        (BEGAN, 4),
        (Kind.RECONNECTED, 4, None, 7.25),
    )
    assert (tally.reconnect_attempts, tally.reconnects, tally.failures) == (3, 1, {Code.REFUSED: 2})
    assert tally.last_connected == tally.last_reconnect == WHEN + timedelta(seconds=9)
    assert (tally.last_latency, tally.latency_sum, sum(tally.latencies)) == (7.25, 7.25, 1)
    assert tally.last_error == "refused happened"  # it stays


@pytest.mark.parametrize(
    ("latency", "bucket"), [(0.0, 0), (0.05, 0), (0.051, 1), (600.0, 12), (600.1, 13), (1e6, 13)]
)
def test_a_latency_falls_into_the_first_bucket_that_holds_it(latency: float, bucket: int) -> None:
    tally = told((Kind.RECONNECTED, 2, None, latency), (Kind.RECONNECTED, 3, None, latency))
    assert len(tally.latencies) == len(LATENCY_BUCKETS) + 1
    assert tally.latencies[bucket] == 2
    assert sum(tally.latencies) == 2


def test_a_failed_probe_and_late_evidence_ended_nothing() -> None:
    tally = told((Kind.PROBE_FAILED, 1, Code.TIMEOUT), (Kind.EVIDENCE, 1, Code.RESET))
    assert tally.last_error == ""
    assert tally.counts == {Kind.PROBE_FAILED: 1, Kind.EVIDENCE: 1}
