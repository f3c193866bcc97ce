"""Signals: what can happen to a connection, as the state machine hears it.

``generation`` is the number taken when the dial began that the signal comes from. ``detail`` is what an attempt's end
has to tell beside its outcome; the machine hands it on and decides nothing by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tether.core.cause import Cause


@dataclass(frozen=True, slots=True)
class Start:
    """The user wants the connection."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The user no longer wants it."""


@dataclass(frozen=True, slots=True)
class Elapsed:
    """The delay before the next attempt is over."""

    generation: int


@dataclass(frozen=True, slots=True)
class Succeeded:
    """An attempt got all the way: open, restored, one round trip."""

    generation: int
    detail: Mapping[str, Any] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt failed."""

    generation: int
    cause: Cause
    detail: Mapping[str, Any] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Lost:
    """A live connection was found dead."""

    generation: int
    cause: Cause


@dataclass(frozen=True, slots=True)
class Restored:
    """A restore pass ended; ``missing`` items could not be restored."""

    generation: int
    missing: int


@dataclass(frozen=True, slots=True)
class Force:
    """Someone asked for a reconnect, now."""


@dataclass(frozen=True, slots=True)
class NetworkChanged:
    """The uplink changed, came back, or the host woke up."""


@dataclass(frozen=True, slots=True)
class CredentialChanged:
    """There is a new credential."""


@dataclass(frozen=True, slots=True)
class CallSucceeded:
    """A user's call went through on a connection that was given up."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Leave it alone: no dial, no probe."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Look after it again."""


Signal: TypeAlias = (
    Start
    | Stop
    | Elapsed
    | Succeeded
    | Failed
    | Lost
    | Restored
    | Force
    | NetworkChanged
    | CredentialChanged
    | CallSucceeded
    | Pause
    | Resume
)
