"""How an attempt went: when it entered each of its phases."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from tether.core.cause import Phase

DIGITS = 6
"""Seconds are told to the microsecond."""


class Course:
    """The phases of one attempt, as it enters them.

    Args:
        began: monotonic seconds; what comes before the first phase counts to it.
    """

    __slots__ = ("_began", "_entered", "_presumed")

    def __init__(self, began: float) -> None:
        self._began = began
        self._entered: list[tuple[Phase, float]] = []
        self._presumed = False

    def enter(self, phase: Phase, now: float) -> None:
        """Note that ``phase`` begins."""
        if self._presumed and phase is Phase.DNS:  # a lookup comes before the connect: so it was none
            self._entered[-1] = (phase, self._entered[-1][1])
        elif not self._entered:
            self._entered.append((phase, self._began))
        elif self._entered[-1][0] is not phase:
            self._entered.append((phase, now))
        self._presumed = False

    def presume(self, phase: Phase, now: float) -> None:
        """Take ``phase`` to begin, until the connector knows better."""
        self.enter(phase, now)
        self._presumed = True

    def detail(self, now: float) -> dict[str, Any]:
        """Return the course as plain values.

        Returns:
            ``duration``: seconds in all. ``phases``: seconds in each phase, in the order in which they began; they add
            up to the duration. ``entered``: pairs of a phase and the seconds from the beginning to its entry; a phase
            that was entered twice (a credential was asked for, then used) is there twice.
        """
        spent: dict[str, float] = {}
        for (phase, start), (_, end) in pairwise([*self._entered, (Phase.READY, now)]):
            spent[phase.value] = spent.get(phase.value, 0.0) + end - start
        return {
            "duration": round(now - self._began, DIGITS),
            "phases": {phase: round(seconds, DIGITS) for phase, seconds in spent.items()},
            "entered": [[phase.value, round(start - self._began, DIGITS)] for phase, start in self._entered],
        }
