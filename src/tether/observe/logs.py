"""Events to log lines: one line per transition at the right level, a summary instead of a line per retry."""

from __future__ import annotations

import logging
from collections.abc import Callable

from tether.core.duration import compact
from tether.core.events import Kind, ReconnectEvent

SUMMARY_EVERY = 60.0
"""Seconds of outage between two lines that say it is still down."""


class LogLines:
    """Writes the log lines of one connection.

    Args:
        logger: where to.
    """

    __slots__ = ("_attempts", "_drops", "_logger", "_summary_due", "_waited")

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._attempts = 0
        self._drops = 0
        self._waited = 0.0
        self._summary_due = SUMMARY_EVERY

    def __call__(self, event: ReconnectEvent) -> None:
        """Log one event, or count it towards the next summary."""
        write = _WRITERS.get(event.kind)
        if write is not None:
            write(self, event)

    def _log(self, level: int, event: ReconnectEvent, text: str) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s: %s", event.connection, text, extra={"tether": event.as_dict()})

    def _forget_outage(self) -> None:
        self._attempts, self._waited, self._summary_due = 0, 0.0, SUMMARY_EVERY

    def started(self, event: ReconnectEvent) -> None:
        self._forget_outage()
        self._log(logging.INFO, event, f"connecting to {event.endpoint}")

    def connected(self, event: ReconnectEvent) -> None:
        tried = f" after {_attempts(self._attempts)}" if self._attempts else ""
        self._forget_outage()
        self._log(logging.INFO, event, f"connected{tried}")

    def reconnected(self, event: ReconnectEvent) -> None:
        tried = f" and {_attempts(self._attempts)}" if self._attempts else ""
        self._forget_outage()
        self._log(logging.INFO, event, f"connected again after {compact(event.elapsed or 0)}{tried}")

    def lost(self, event: ReconnectEvent) -> None:
        self._forget_outage()
        self._log(logging.WARNING, event, f"lost after {compact(event.elapsed or 0)} up, {_why(event)}")

    def retry_scheduled(self, event: ReconnectEvent) -> None:
        """The first failure of an outage is told at once; then one line a minute, the rest for debugging."""
        delay = event.delay or 0.0
        self._waited += delay
        if not event.retry_count:
            self._log(logging.DEBUG, event, f"first attempt in {compact(delay)}")
            return
        self._attempts = event.retry_count
        if self._attempts == 1:
            self._log(logging.WARNING, event, f"attempt 1 failed, {_why(event)}; next in {compact(delay)}")
        elif self._waited >= self._summary_due:
            self._summary_due = self._waited + SUMMARY_EVERY
            text = f"still down after {_attempts(self._attempts)}, {_why(event)}; next in {compact(delay)}"
            self._log(logging.WARNING, event, text)
        else:
            text = f"attempt {self._attempts} failed, {_why(event)}; next in {compact(delay)}"
            self._log(logging.DEBUG, event, text)

    def gave_up(self, event: ReconnectEvent) -> None:
        text = f"gave up after {_attempts(event.retry_count)}, {_why(event)}; reconnect() tries again"
        self._log(logging.ERROR, event, text)

    def dropped(self, event: ReconnectEvent) -> None:
        """The first drop, and then every time their number has doubled."""
        self._drops += int(event.detail.get("dropped", 1))
        if self._drops & (self._drops - 1) == 0:
            what = event.detail.get("callback") or event.detail.get("subscription") or "a full queue"
            self._log(logging.WARNING, event, f"{what} cannot keep up: {self._drops} dropped so far")

    def stalled(self, event: ReconnectEvent) -> None:
        text = f"this process's event loop was blocked for {compact(event.elapsed or 0)}; verdict held back"
        self._log(logging.WARNING, event, text)

    def gap(self, event: ReconnectEvent) -> None:
        self._log(logging.WARNING, event, f"messages of {compact(event.elapsed or 0)} may be missing")

    def degraded(self, event: ReconnectEvent) -> None:
        self._log(logging.WARNING, event, "degraded: not everything could be restored; trying on")

    def plain(self, event: ReconnectEvent) -> None:
        self._log(logging.INFO, event, event.kind.value)

    def detail(self, event: ReconnectEvent) -> None:
        self._log(logging.DEBUG, event, f"{event.kind.value}, {_why(event)}")


def _attempts(count: int) -> str:
    return f"{count} failed attempt{'' if count == 1 else 's'}"


def _why(event: ReconnectEvent) -> str:
    cause = event.cause
    if cause is None:
        return "no cause"
    text = f"{cause.code.value} ({cause.label()}, phase {cause.phase.value})"
    return f"{text}: {event.message}" if event.message else text


_WRITERS: dict[Kind, Callable[[LogLines, ReconnectEvent], None]] = {
    Kind.STARTED: LogLines.started,
    Kind.CONNECTED: LogLines.connected,
    Kind.RECONNECTED: LogLines.reconnected,
    Kind.LOST: LogLines.lost,
    Kind.RETRY_SCHEDULED: LogLines.retry_scheduled,
    Kind.GAVE_UP: LogLines.gave_up,
    Kind.DROPPED: LogLines.dropped,
    Kind.STALLED: LogLines.stalled,
    Kind.GAP: LogLines.gap,
    Kind.DEGRADED: LogLines.degraded,
    Kind.REVIVED: LogLines.plain,
    Kind.STOPPED: LogLines.plain,
    Kind.PAUSED: LogLines.plain,
    Kind.RESUMED: LogLines.plain,
    Kind.RECOVERED: LogLines.plain,
    Kind.PROBE_FAILED: LogLines.detail,
    Kind.EVIDENCE: LogLines.detail,
}
