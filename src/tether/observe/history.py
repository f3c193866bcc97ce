"""What happened: one bounded ring, shared by all connections of the process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from tether.core.events import ReconnectEvent

LIMIT = 4096
"""Events kept in all; the oldest go first."""


class Entry(NamedTuple):
    """One event of the history; ``seq`` counts from 1 and never repeats."""

    seq: int
    event: ReconnectEvent


class History:
    """A ring of events, without their exceptions: those would keep whole frames alive."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._ring: deque[Entry] = deque(maxlen=limit)
        self._seq = 0
        self._listeners: tuple[Callable[[], None], ...] = ()

    def append(self, event: ReconnectEvent) -> None:
        """Keep one event."""
        self._seq += 1
        self._ring.append(Entry(self._seq, event.without_error()))
        for listener in self._listeners:
            listener()

    def listen(self, listener: Callable[[], None]) -> None:
        """Have ``listener()`` called after every event, at once; it must neither wait nor raise."""
        self._listeners += (listener,)

    def unlisten(self, listener: Callable[[], None]) -> None:
        """Call it no more. Idempotent."""
        self._listeners = tuple(other for other in self._listeners if other != listener)

    def since(self, seq: int) -> list[Entry]:
        """Return what came after ``seq``, oldest first; a gap before the first one means that some are gone."""
        if not self._ring or seq >= self._seq:
            return []
        start = max(0, seq + 1 - self._ring[0].seq)
        return list(islice(self._ring, start, None))

    def latest(self, count: int, connection: str | None = None) -> list[Entry]:
        """Return the last ``count`` entries (of one connection, if named), oldest first."""
        found = (entry for entry in reversed(self._ring) if connection in {None, entry.event.connection})
        return list(islice(found, count))[::-1]

    def __len__(self) -> int:
        return len(self._ring)

    @property
    def last_seq(self) -> int:
        """Number of the latest event."""
        return self._seq


history = History()
"""The ring of this process."""
