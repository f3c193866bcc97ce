"""Events in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.surfaces.scenes import EOF, HEALED, NOT_BACK, NOT_NOTICED, REFUSED
from tether.core.events import Kind, ReconnectEvent
from tether.core.lifecycle import Status
from tether.surfaces.demo.model import Counts
from tether.surfaces.demo.words import fates, outcome
from tether.surfaces.words import Tone, tell, took


def event(kind: Kind, **more: Any) -> ReconnectEvent:
    when = datetime(2030, 1, 1, tzinfo=UTC)
    return ReconnectEvent(kind=kind, connection="c", status=Status.RECONNECTING, timestamp=when, **more)


@pytest.mark.parametrize(
    ("happened", "told"),
    [
        (event(Kind.CONNECTED), ("connected", Tone.GOOD)),
        (event(Kind.LOST, cause=EOF), ("lost: eof (connection dropped)", Tone.BAD)),
        (event(Kind.RETRY_SCHEDULED, delay=0.03, cause=EOF), ("first try in 30ms", Tone.ASIDE)),
        (
            event(Kind.RETRY_SCHEDULED, delay=0.5, cause=REFUSED, retry_count=2),
            ("try 2 failed: refused (connection refused); next in 500ms", Tone.BAD),
        ),
        (event(Kind.RECONNECTED, elapsed=3.84), ("connected again, 3.8s after the loss", Tone.GOOD)),
        (event(Kind.GAP, elapsed=3.84), ("told the subscriber: a gap of 3.8s", Tone.ASIDE)),
        (
            event(Kind.GAVE_UP, retry_count=1, cause=REFUSED),
            ("gave up after 1 attempt: refused (connection refused)", Tone.BAD),
        ),
        (event(Kind.STALLED, elapsed=0.2), ("this process was late by 200ms; no verdict", Tone.ASIDE)),
    ],
)
def test_what_happened_is_told_in_one_line(happened: ReconnectEvent, told: tuple[str, Tone]) -> None:
    assert tell(happened) == told


@pytest.mark.parametrize("kind", [Kind.ATTEMPT_STARTED, Kind.ATTEMPT_FAILED, Kind.STARTED, Kind.EVIDENCE])
def test_what_another_event_tells_better_is_not_told(kind: Kind) -> None:
    assert tell(event(kind)) is None


def test_measured_times() -> None:
    assert [took(value) for value in (None, 0.0, 0.0004, 0.0021, 1.23, 75.0)] == [
        "–",
        "<1ms",
        "<1ms",
        "2ms",
        "1.2s",
        "1m15s",
    ]


def test_outcomes() -> None:
    assert outcome(HEALED) == "noticed after 2ms · back after 510ms · missed 0"
    assert outcome(NOT_BACK) == "noticed after 2ms · not back · no messages since"
    assert outcome(NOT_NOTICED) == "not noticed · not back · missed 0"


def test_fates_are_named_only_if_there_are_any() -> None:
    assert fates(Counts(refused=3, unsure=1)) == ["3 not sent", "1 unsure"]
    assert fates(Counts(sent=5, received=5)) == []
