"""What happened, in words: one short line per event, the same wherever it is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

from tether.core.cause import Cause, Code
from tether.core.duration import compact
from tether.core.events import Kind, ReconnectEvent


class Tone(StrEnum):
    """How a line is meant."""

    GOOD = "good"
    BAD = "bad"
    DEED = "deed"
    """Somebody did something on purpose."""
    ASIDE = "aside"


def took(value: float | None) -> str:
    """Return a measured time for people; a dash for none."""
    if value is None:
        return "–"
    return "<1ms" if value < 0.001 else compact(value)


def why(cause: Cause | None) -> str:
    """Return a cause with its code and label."""
    return "no cause" if cause is None else f"{cause.code.value} ({cause.label()})"


def many(count: int, what: str) -> str:
    """Return ``1 attempt``, ``2 attempts``."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def tell(event: ReconnectEvent) -> tuple[str, Tone] | None:
    """Return an event in words, and how it is meant; ``None`` for what another event tells better."""
    teller = _TELLERS.get(event.kind)
    return None if teller is None else teller(event)


def _connected(_: ReconnectEvent) -> tuple[str, Tone]:
    return "connected", Tone.GOOD


def _reconnected(event: ReconnectEvent) -> tuple[str, Tone]:
    return f"connected again, {compact(event.elapsed or 0)} after the loss", Tone.GOOD


def _host_resumed(event: ReconnectEvent) -> tuple[str, Tone]:
    return f"this host was asleep for {compact(event.elapsed or 0)}", Tone.ASIDE


def _lost(event: ReconnectEvent) -> tuple[str, Tone]:
    if event.cause is not None and event.cause.code is Code.CLOSED:  # on purpose
        return f"closed: {event.cause.label()}", Tone.ASIDE
    return f"lost: {why(event.cause)}", Tone.BAD


def _retry_scheduled(event: ReconnectEvent) -> tuple[str, Tone]:
    delay = took(event.delay)
    if not event.retry_count:
        return f"first try in {delay}", Tone.ASIDE
    return f"try {event.retry_count} failed: {why(event.cause)}; next in {delay}", Tone.BAD


def _gave_up(event: ReconnectEvent) -> tuple[str, Tone]:
    return f"gave up after {many(event.retry_count, 'attempt')}: {why(event.cause)}", Tone.BAD


def _gap(event: ReconnectEvent) -> tuple[str, Tone]:
    return f"told the subscriber: a gap of {compact(event.elapsed or 0)}", Tone.ASIDE


def _stalled(event: ReconnectEvent) -> tuple[str, Tone]:
    return f"this process was late by {compact(event.elapsed or 0)}; no verdict", Tone.ASIDE


def _degraded(_: ReconnectEvent) -> tuple[str, Tone]:
    return "not everything could be restored; trying on", Tone.BAD


_TELLERS: Mapping[Kind, Callable[[ReconnectEvent], tuple[str, Tone]]] = {
    Kind.CONNECTED: _connected,
    Kind.RECONNECTED: _reconnected,
    Kind.LOST: _lost,
    Kind.RETRY_SCHEDULED: _retry_scheduled,
    Kind.GAVE_UP: _gave_up,
    Kind.GAP: _gap,
    Kind.STALLED: _stalled,
    Kind.DEGRADED: _degraded,
    Kind.HOST_RESUMED: _host_resumed,
}
