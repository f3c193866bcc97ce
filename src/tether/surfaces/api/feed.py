"""The live feed: the history as server-sent events, for any number of readers, each at its own pace.

A reader is a position in the shared ring and nothing else: one that is slow costs no memory and delays nobody. What the
ring has dropped meanwhile is told as ``missed``.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tether.observe.history import Entry, History
from tether.surfaces.api.encoding import encode

FRAMES_KEPT = 1024
"""Events kept in their encoded form, so that twenty readers cost one encoding."""

BATCH = 256
"""Events in one write, at most."""

_EVENT_ID = re.compile(r"(?P<epoch>[0-9a-f]{8})-(?P<seq>[0-9]{1,18})")

Names = Callable[[], Mapping[str, str]]
"""Returns the public names of the connections, by the names that their events carry."""


@dataclass(slots=True)
class Position:
    """How far one reader is.

    Attributes:
        seq: number of the last event that it has been past.
        connection: the only connection that it wants to hear of; '' for all.
        told: the last number that it knows, and would resume from.
    """

    seq: int
    connection: str = ""
    told: int = 0


class _Frame(NamedTuple):
    """One event, ready to be sent; ``connection`` is its public name, ``None`` when it is not one of ours."""

    connection: str | None
    data: bytes


class Feed:
    """Tells readers what is new in a history. Belongs to one event loop; events may happen on any thread.

    Args:
        history: the ring.
        names: the connections to tell of; events of others are left out.

    Attributes:
        epoch: changes with every process: numbers of another epoch mean nothing here.
        readers: how many there are.
    """

    def __init__(self, history: History, names: Names) -> None:
        self._history, self._names = history, names
        self.epoch = secrets.token_hex(4)
        self.readers = 0
        self._frames: dict[int, _Frame] = {}
        self._news: asyncio.Future[None] | None = None
        self._is_woken = False
        self._is_open = True

    def close(self) -> None:
        """End all readers. Idempotent."""
        self._is_open = False
        self._history.unlisten(self._wake)
        self._tell()

    @property
    def is_open(self) -> bool:
        """Whether there will be more."""
        return self._is_open

    def join(self) -> None:
        """Count one reader more. The history is listened to only while there are some."""
        self.readers += 1
        if self.readers == 1:
            self._history.listen(self._wake)

    def leave(self) -> None:
        """Count one reader less."""
        self.readers -= 1
        if not self.readers:
            self._history.unlisten(self._wake)

    # -- waiting ------------------------------------------------------------------------------------------------------

    async def news(self, position: Position, timeout: float) -> bool:
        """Wait for something after ``position``. Returns whether there is; ``False`` also when the feed was closed."""
        if not self._has_news(position):
            loop = asyncio.get_running_loop()
            if self._news is None or self._news.done() or self._news.get_loop() is not loop:
                self._news, self._is_woken = loop.create_future(), False
            # Once more: what happened on another thread in between found nobody to wake.
            if self._is_open and not self._has_news(position):
                await asyncio.wait([self._news], timeout=timeout)
        return self._has_news(position)

    def _has_news(self, position: Position) -> bool:
        return self._is_open and self._history.last_seq > position.seq

    def _wake(self) -> None:
        """Hear of a new event, on whatever thread it happened; once is enough for a bunch of them."""
        news = self._news
        if news is None or self._is_woken or news.get_loop().is_closed():
            return
        self._is_woken = True
        news.get_loop().call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        if self._news is not None and not self._news.done() and not self._news.get_loop().is_closed():
            self._news.set_result(None)

    # -- reading ------------------------------------------------------------------------------------------------------

    def begin(self, last_event_id: str | None, replay: int, connection: str = "") -> tuple[Position, bytes]:
        """Return where a reader begins, and the first thing to send to it.

        Args:
            last_event_id: what it had last (``epoch-number``); nothing for a new reader.
            replay: how many past events a new reader wants.
            connection: the only connection that it wants to hear of; '' for all.
        """
        newest = self._history.last_seq
        if not last_event_id:
            return self._at(self._back(replay, connection), connection)
        known = _EVENT_ID.fullmatch(last_event_id)
        if known is not None and known["epoch"] == self.epoch and int(known["seq"]) <= newest:
            return self._at(int(known["seq"]), connection)
        position, hello = self._at(self._back(newest, ""), connection)
        return position, hello + _missed(None, "restarted")

    def _back(self, count: int, connection: str) -> int:
        """Return the number before the last ``count`` events (of one connection): all, if there are fewer."""
        if count <= 0:
            return self._history.last_seq
        ring, names = self._history.since(0), self._names()
        wanted = [entry.seq for entry in ring if _is_about(names.get(entry.event.connection), connection)]
        if count <= len(wanted):
            return wanted[-count] - 1
        return ring[0].seq - 1 if ring else self._history.last_seq

    def _at(self, seq: int, connection: str) -> tuple[Position, bytes]:
        """Set the pace of returning, and an id, so that a reader that has heard of nothing yet can resume as well."""
        return Position(seq, connection, seq), b"retry: 1000\n" + self._id(seq) + b"\n"

    def take(self, position: Position) -> bytes:
        """Return what is new for a reader, at most ``BATCH`` events, and move it on. May be empty."""
        entries = self._history.since(position.seq)
        chunks = []
        if entries and entries[0].seq > position.seq + 1:
            chunks.append(_missed(entries[0].seq - position.seq - 1, "too_slow"))
        for entry, frame in self._framed(entries[:BATCH]):
            position.seq = entry.seq
            if _is_about(frame.connection, position.connection):
                position.told = entry.seq
                chunks.append(frame.data)
        return b"".join(chunks)

    def keep_alive(self, position: Position) -> bytes:
        """Return what shows a silent reader that the feed lives.

        It also moves on the id of one that was spared the events of others: it would be told later that it had missed
        them.
        """
        if position.told == position.seq:
            return b": keep-alive\n\n"
        position.told = position.seq
        return b": keep-alive\n" + self._id(position.seq) + b"\n"

    def _framed(self, entries: list[Entry]) -> list[tuple[Entry, _Frame]]:
        """Encode what was not yet; each event once, and under the name that its connection has at that moment."""
        names: Mapping[str, str] | None = None
        framed = []
        for entry in entries:
            frame = self._frames.get(entry.seq)
            if frame is None:
                names = self._names() if names is None else names
                frame = self._frame(entry, names.get(entry.event.connection))
                self._keep(entry.seq, frame)
            framed.append((entry, frame))
        return framed

    def _frame(self, entry: Entry, name: str | None) -> _Frame:
        if name is None:
            return _Frame(None, b"")
        event = entry.event
        time = event.timestamp.isoformat().replace("+00:00", "Z")
        data = encode(event.as_dict() | {"connection": name, "timestamp": time})
        return _Frame(name, self._id(entry.seq) + b"data: " + data + b"\n\n")

    def _keep(self, seq: int, frame: _Frame) -> None:
        if len(self._frames) >= FRAMES_KEPT:
            del self._frames[next(iter(self._frames))]  # the one that was encoded first
        self._frames[seq] = frame

    def _id(self, seq: int) -> bytes:
        return f"id: {self.epoch}-{seq}\n".encode()


def _is_about(name: str | None, connection: str) -> bool:
    return name is not None and connection in {"", name}


def _missed(count: int | None, reason: str) -> bytes:
    """Return the event that says that others could not be told: how many, if that is known, and why."""
    return b"event: missed\ndata: %s\n\n" % encode({"missed": count, "reason": reason})
