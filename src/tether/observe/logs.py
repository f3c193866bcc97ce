"""Events to log lines: one line per transition at the right level, a summary instead of a line per retry."""

from __future__ import annotations

import logging

from tether.core.cause import Code
from tether.core.duration import compact
from tether.core.events import Kind, ReconnectEvent

SUMMARY_EVERY = 60.0
"""Seconds of outage between two lines that say it is still down."""


class LogLines:
    """Writes the log lines of one connection.

    Args:
        logger: where to.
    """

    __slots__ = ("_attempts", "_drops", "_drops_due", "_logger", "_summary_due")

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._attempts = 0
        self._drops, self._drops_due = 0, 1
        self._summary_due = SUMMARY_EVERY

    def __call__(self, event: ReconnectEvent) -> None:  # noqa: C901 - one flat table, told by kind
        """Log one event, or count it towards the next summary."""
        match event.kind:
            case Kind.STARTED:
                self._started(event)
            case Kind.CONNECTED:
                self._connected(event)
            case Kind.RECONNECTED:
                self._reconnected(event)
            case Kind.LOST:
                self._lost(event)
            case Kind.RETRY_SCHEDULED:
                self._retry_scheduled(event)
            case Kind.GAVE_UP:
                self._attempts = event.retry_count
                text = f"gave up after {_attempts(event.retry_count)}, {_why(event)}; reconnect() tries again"
                self._log(logging.ERROR, event, text)
            case Kind.DROPPED:
                self._dropped(event)
            case Kind.REVIVED | Kind.STOPPED | Kind.PAUSED | Kind.RESUMED | Kind.RECOVERED:
                self._log(logging.INFO, event, event.kind.value)
            case Kind.PROBE_FAILED | Kind.EVIDENCE:
                self._log(logging.DEBUG, event, f"{event.kind.value}, {_why(event)}")
            case Kind.STALLED:
                text = f"this process's event loop was blocked for {compact(event.elapsed or 0)}; verdict held back"
                self._log(logging.WARNING, event, text)
            case Kind.GAP:
                text = f"messages of {compact(event.elapsed or 0)} may be missing"
                self._log(logging.WARNING, event, text)
            case Kind.DEGRADED:
                self._log(logging.WARNING, event, "degraded: not everything could be restored; trying on")

    def _log(self, level: int, event: ReconnectEvent, text: str) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s: %s", event.connection, text, extra={"tether": event.as_dict()})

    def _forget_outage(self) -> None:
        self._attempts, self._summary_due = 0, SUMMARY_EVERY

    def _started(self, event: ReconnectEvent) -> None:
        self._forget_outage()
        self._log(logging.INFO, event, f"connecting to {event.endpoint}")

    def _connected(self, event: ReconnectEvent) -> None:
        tried = f" after {_attempts(self._attempts)}" if self._attempts else ""
        self._forget_outage()
        self._log(logging.INFO, event, f"connected{tried}")

    def _reconnected(self, event: ReconnectEvent) -> None:
        tried = f" and {_attempts(self._attempts)}" if self._attempts else ""
        self._forget_outage()
        self._log(logging.INFO, event, f"connected again after {compact(event.elapsed or 0)}{tried}")

    def _lost(self, event: ReconnectEvent) -> None:
        self._forget_outage()
        up = compact(event.elapsed or 0)
        if event.cause is not None and event.cause.code is Code.CLOSED:
            self._log(logging.INFO, event, f"closed after {up} up, {event.cause.label()}")
        else:
            self._log(logging.WARNING, event, f"lost after {up} up, {_why(event)}")

    def _retry_scheduled(self, event: ReconnectEvent) -> None:
        """The first failure of an outage is told at once; then one line a minute, the rest for debugging."""
        delay, down = event.delay or 0.0, event.elapsed or 0.0
        if not event.retry_count:
            self._log(logging.DEBUG, event, f"first attempt in {compact(delay)}")
            return
        self._attempts = event.retry_count
        if self._attempts == 1:
            self._log(logging.WARNING, event, f"attempt 1 failed, {_why(event)}; next in {compact(delay)}")
        elif down >= self._summary_due:
            self._summary_due = down + SUMMARY_EVERY
            tried = f"{compact(down)} and {_attempts(self._attempts)}"
            text = f"still down after {tried}, {_why(event)}; next in {compact(delay)}"
            self._log(logging.WARNING, event, text)
        else:
            text = f"attempt {self._attempts} failed, {_why(event)}; next in {compact(delay)}"
            self._log(logging.DEBUG, event, text)

    def _dropped(self, event: ReconnectEvent) -> None:
        """The first drop, and then every time their number has doubled at least."""
        self._drops += int(event.detail.get("dropped", 1))
        if self._drops >= self._drops_due:
            self._drops_due = 2 * self._drops
            what = event.detail.get("callback") or event.detail.get("subscription") or "a full queue"
            self._log(logging.WARNING, event, f"{what} cannot keep up: {self._drops} dropped so far")


def _attempts(count: int) -> str:
    return f"{count} failed attempt{'' if count == 1 else 's'}"


def _why(event: ReconnectEvent) -> str:
    cause = event.cause
    if cause is None:
        return "no cause"
    text = f"{cause.code.value} ({cause.label()}, phase {cause.phase.value})"
    return f"{text}: {event.message}" if event.message else text
