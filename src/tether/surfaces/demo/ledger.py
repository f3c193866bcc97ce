"""The fate of every message, by its number: a count that can be checked, not a guess."""

from __future__ import annotations

from tether.surfaces.demo.model import Counts

SETTLE = 0.5
"""Seconds after its acknowledgement from which on a message that has not come counts as missed."""

FORGET = 60.0
"""Seconds after which a missed message is only a number any more."""


class Ledger:
    """Counts messages. Numbers are given out in rising order, one message at a time; each is counted once.

    Attributes:
        last_received_at: when the last message came.
    """

    def __init__(self) -> None:
        self._sent = self._received = self._refused = self._forgotten = self._latest = 0
        self._open: dict[int, float] = {}  # acknowledged and not seen yet: number -> when
        self._early: set[int] = set()  # seen before the acknowledgement came
        self._unsure: set[int] = set()
        self.last_received_at = float("-inf")

    def acknowledged(self, number: int, now: float) -> None:
        """The server has acknowledged it."""
        self._latest = number
        self._sent += 1
        if number in self._early:
            self._early.discard(number)
        else:
            self._open[number] = now

    def refused(self, number: int) -> None:
        """It never left: the connection is down, and the publisher was told so."""
        self._latest = number
        self._refused += 1

    def unsure(self, number: int) -> None:
        """The connection was lost while it was under way."""
        self._latest = number
        if number in self._early:
            self._early.discard(number)
            self._sent += 1
        else:
            self._unsure.add(number)

    def received(self, number: int, now: float) -> None:
        """The subscriber has it."""
        if number in self._open:
            del self._open[number]
        elif number in self._unsure:  # what has come must have been taken by the server
            self._unsure.discard(number)
            self._sent += 1
        elif number > self._latest and number not in self._early:
            self._early.add(number)
        else:
            return
        self._received += 1
        self.last_received_at = now

    def in_flight(self, now: float) -> bool:
        """Whether a message is on its way that may still come in time."""
        return any(now - at < SETTLE for at in self._open.values())

    def counts(self, now: float) -> Counts:
        """Return the counts so far."""
        while self._open and now - next(iter(self._open.values())) >= FORGET:
            del self._open[next(iter(self._open))]
            self._forgotten += 1
        missed = self._forgotten + sum(now - at >= SETTLE for at in self._open.values())
        return Counts(self._sent, self._received, missed, self._refused, len(self._unsure))
