"""Effects: what the state machine wants done. Data, not callbacks; the runtime carries them out in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Dial:
    """Begin an attempt; ask the credentials provider first if the last credential was refused."""

    generation: int
    ask_credential: bool = False


@dataclass(frozen=True, slots=True)
class CancelDial:
    """Give up the attempt under way; it counts as nothing."""

    generation: int


@dataclass(frozen=True, slots=True)
class Adopt:
    """Make the connection of this generation the live one, and watch it."""

    generation: int


@dataclass(frozen=True, slots=True)
class Abandon:
    """Drop the connection at once, without a goodbye; end the calls that are under way on it."""

    generation: int


@dataclass(frozen=True, slots=True)
class Release:
    """Close the live connection politely, within a short deadline."""

    generation: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """Signal ``Elapsed(generation)`` after ``delay`` seconds."""

    delay: float
    generation: int


@dataclass(frozen=True, slots=True)
class Unschedule:
    """Forget the scheduled signal."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Probe now."""


@dataclass(frozen=True, slots=True)
class StopProbing:
    """Probe no more until told to."""


Effect: TypeAlias = (
    Dial | CancelDial | Adopt | Abandon | Release | Schedule | Unschedule | Probe | StopProbing
)
