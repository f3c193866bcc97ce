"""OpenTelemetry: one trace per outage, one span per attempt.

A trace begins with a short span when a connection is started (``tether.start``) or lost (``tether.lost``), and holds a
span for each attempt (``tether.connect``) until one connects. The first span ends at once, so that an outage can be
found while it lasts: spans are exported when they end. If the connection is given up, a last short span says so
(``tether.give_up``). An outage of very many attempts goes on in another trace, linked to the first one
(``tether.still_down``): tracing backends limit the size of a trace.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tether.core.cause import Code
from tether.core.events import Kind, ReconnectEvent
from tether.errors import MissingDriver
from tether.observe.version import installed_version

if TYPE_CHECKING:
    from opentelemetry.trace import Link, Span, TracerProvider

logger = logging.getLogger("tether.tracing")

ATTEMPTS_PER_TRACE = 500
"""So many attempts stay in one trace, and its backend shows it; an outage of a day may have thousands."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_OUTCOME = {Kind.CONNECTED: "connected", Kind.RECONNECTED: "connected", Kind.ATTEMPT_FAILED: "failed"}
_CUTS_SHORT = {Kind.STARTED, Kind.LOST, Kind.ATTEMPT_STARTED, Kind.PAUSED, Kind.STOPPED}
"""What no attempt under way survives. Some cannot come now, unless a loop has ended without a stop."""


@dataclass(slots=True)
class _Trace:
    """What is known of one connection.

    Attributes:
        context: of its trace's first span.
        attempt: the span of the attempt under way, and when that began (Unix nanoseconds).
        count: attempts in this trace.
    """

    context: Any
    attempt: Span | None = None
    began: int = 0
    count: int = 0


class OpenTelemetryTracing:
    """A subscriber that turns events into spans: ``subscribers=[OpenTelemetryTracing()]``.

    One instance may serve many connections, as long as their names differ. At most one span is open per connection. No
    span holds an exception, whose text may hold secrets: the status is ``event.message``, which is redacted.

    Args:
        tracer_provider: an ``opentelemetry.trace.TracerProvider``; ``None`` for the global one.

    Raises:
        MissingDriver: opentelemetry-api is not installed.
    """

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        self._api, context = _import_opentelemetry()
        # Whatever span is current in the user's code has nothing to do with an outage.
        self._nowhere = context.Context()
        self._tracer = self._api.get_tracer("tether", installed_version(), tracer_provider)
        self._traces: dict[str, _Trace] = {}

    def __call__(self, event: ReconnectEvent) -> None:
        """Take one event. Never raises: whatever a tracer does wrong is logged."""
        try:
            self._take(event)
        except Exception:
            logger.exception("%s: the event %s could not be traced", event.connection, event.kind.value)

    def _take(self, event: ReconnectEvent) -> None:
        if event.kind in _CUTS_SHORT:
            self._end_attempt(event, "cancelled")
        match event.kind:
            case Kind.STARTED:
                self._open_trace(event, "tether.start")
            case Kind.LOST:
                self._open_trace(event, "tether.lost")
            case Kind.ATTEMPT_STARTED:
                self._begin_attempt(event)
            case Kind.CONNECTED | Kind.RECONNECTED | Kind.ATTEMPT_FAILED:
                self._end_attempt(event, _OUTCOME[event.kind])
            case Kind.GAVE_UP:
                self._point(event, "tether.give_up", self._trace_of(event.connection).context)
        if event.kind in {Kind.CONNECTED, Kind.RECONNECTED, Kind.STOPPED}:
            self._traces.pop(event.connection, None)

    def _open_trace(self, event: ReconnectEvent, name: str, links: Sequence[Link] = ()) -> None:
        span = self._point(event, name, self._nowhere, links)
        self._traces[event.connection] = _Trace(self._api.set_span_in_context(span, self._nowhere))

    def _point(self, event: ReconnectEvent, name: str, context: Any, links: Sequence[Link] = ()) -> Span:
        """Make a span of no length: something that happened at one moment."""
        when = _nanoseconds(event.timestamp)
        attributes = {**_attributes(event), **_elapsed(event)}
        span: Span = self._tracer.start_span(
            name, context, attributes=attributes, start_time=when, links=links
        )
        self._blame(span, event)
        span.end(when)
        return span

    def _begin_attempt(self, event: ReconnectEvent) -> None:
        trace = self._trace_of(event.connection)
        if trace.count >= ATTEMPTS_PER_TRACE:
            first = self._api.get_current_span(trace.context).get_span_context()
            self._open_trace(event, "tether.still_down", [self._api.Link(first)])
            trace = self._trace_of(event.connection)
        trace.count += 1
        trace.began = _nanoseconds(event.timestamp)
        trace.attempt = self._tracer.start_span(
            "tether.connect",
            trace.context,
            kind=self._api.SpanKind.CLIENT,
            attributes=_attributes(event),
            start_time=trace.began,
        )

    def _end_attempt(self, event: ReconnectEvent, outcome: str) -> None:
        trace = self._traces.get(event.connection)
        if trace is None or trace.attempt is None:
            return
        span, trace.attempt = trace.attempt, None
        end = max(trace.began, _nanoseconds(event.timestamp))  # the time of day may be set back meanwhile
        for phase, entered in event.detail.get("entered", ()):
            span.add_event(phase, timestamp=min(end, trace.began + int(entered * 1e9)))
        span.set_attribute("tether.outcome", outcome)
        if outcome == "failed":
            span.set_attribute("tether.retry_count", event.retry_count)
            self._blame(span, event)
        span.end(end)

    def _blame(self, span: Span, event: ReconnectEvent) -> None:
        """Mark a span as an error, unless nothing went wrong (a reconnect that was asked for)."""
        cause = event.cause
        if cause is None:
            return
        span.set_attribute("error.type", cause.code.value)
        span.set_attribute("tether.phase", cause.phase.value)
        if cause.code is not Code.CLOSED:
            span.set_status(self._api.Status(self._api.StatusCode.ERROR, event.message or cause.label()))

    def _trace_of(self, connection: str) -> _Trace:
        """Return the trace of a connection; one that was started before we were asked to look has none yet."""
        return self._traces.setdefault(connection, _Trace(self._nowhere))


def _attributes(event: ReconnectEvent) -> dict[str, str | int]:
    return {
        "tether.connection": event.connection,
        "tether.type": event.type,
        "tether.generation": event.generation,
        "tether.retry_count": event.retry_count,
        **server_of(event.endpoint),
    }


def _elapsed(event: ReconnectEvent) -> Mapping[str, float]:
    """Return for how long a lost connection was up."""
    return {"tether.uptime": event.elapsed} if event.kind is Kind.LOST and event.elapsed is not None else {}


def server_of(endpoint: str) -> dict[str, str | int]:
    """Return ``server.address`` and ``server.port`` of an endpoint such as ``host:6379/0``; nothing if it has none."""
    place = endpoint.partition("://")[2] or endpoint
    if place.startswith("/"):
        return {"server.address": place}  # a unix socket
    host, _, port = place.partition("/")[0].rpartition(":")
    if not host or not port.isdecimal() or "," in host:
        return {}
    return {"server.address": host.strip("[]"), "server.port": int(port)}


def _nanoseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def _import_opentelemetry() -> tuple[Any, Any]:
    try:
        from opentelemetry import context, trace
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        raise MissingDriver("opentelemetry", "otel") from error
    return trace, context
