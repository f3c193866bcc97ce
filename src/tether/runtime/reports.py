"""What goes wrong with callbacks and handlers, on its way to the figures, the log and the events."""

from __future__ import annotations

import traceback
from typing import Any

from tether.core.events import Kind
from tether.core.redact import describe, redact
from tether.runtime.engine import Engine


class EngineReports:
    """Reports of the mailboxes of one connection.

    Attributes:
        dropped: calls and messages that they have dropped, exactly: also those that no event has told yet.
    """

    __slots__ = ("_engine", "dropped")

    def __init__(self, engine: Engine[Any]) -> None:
        self._engine = engine
        self.dropped = 0

    def failed(self, name: str, what: str, error: BaseException) -> None:
        """Log, and tell, that a callback raised or took too long."""
        engine = self._engine
        trace = redact("".join(traceback.format_exception(error)), engine.connector.secrets)
        engine.watch.logger.error("%s: callback %s %s\n%s", engine.name, name, what, trace.rstrip())
        engine.tell(Kind.CALLBACK_FAILED, callback=name, error=describe(error, engine.connector.secrets))

    def count_dropped(self, count: int) -> None:
        """Count drops, as they happen."""
        self.dropped += count

    def tell_dropped(self, name: str, count: int) -> None:
        """Tell of drops, in bunches."""
        self._engine.tell(Kind.DROPPED, callback=name, dropped=count)
