"""The toxics: what each does to a connection, in seconds and bytes, and as Toxiproxy writes it.

Here: the values, their checks, and the translation from and to Toxiproxy's attributes (ms, µs, KB/s).
Not here: how they are done to a connection (``effects``).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Self, get_args

__all__ = [
    "STREAMS",
    "TOXICS",
    "Bandwidth",
    "Latency",
    "LimitData",
    "Placed",
    "ResetPeer",
    "Slicer",
    "SlowClose",
    "Stream",
    "Timeout",
    "Toxic",
    "ToxicError",
    "toxic_from",
]

Stream = Literal["upstream", "downstream"]
STREAMS: tuple[Stream, ...] = get_args(Stream)

_MS = 1e-3
_US = 1e-6
_KB = 1e3  # Toxiproxy counts 1000 bytes


class ToxicError(ValueError):
    """A toxic that does not exist, exists already, or has a value that cannot work; the message says which."""


@dataclass(frozen=True)
class Toxic:
    """What all toxics share: a type, numbers, and the units that Toxiproxy has for them.

    Raises:
        ToxicError: an attribute is negative or not finite, or not whole where bytes are counted.
    """

    type: ClassVar[str] = ""
    units: ClassVar[Mapping[str, float]] = {}
    """For each attribute, how many of our units (seconds, bytes) make one of Toxiproxy's."""

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(self.type, field.name, getattr(self, field.name), whole=self.units[field.name] == 1)

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any], *, base: Toxic | None = None) -> Self:
        """Build it from Toxiproxy's attributes; one that is missing is as in ``base``, or 0.

        Raises:
            ToxicError: an attribute does not exist, or has a value that cannot work.
        """
        if unknown := sorted(set(attributes) - set(cls.units)):
            raise ToxicError(_unknown(f"attribute of {cls.type}", unknown[0], cls.units))
        values: dict[str, Any] = {name: getattr(base, name, 0) for name in cls.units}
        for name, value in attributes.items():
            _check(cls.type, name, value)
            values[name] = value if cls.units[name] == 1 else value * cls.units[name]
        return cls(**values)

    def attributes(self) -> dict[str, float]:
        """Toxiproxy's attributes: whole numbers where ours make whole numbers."""
        return {name: _plain(getattr(self, name) / unit) for name, unit in self.units.items()}


@dataclass(frozen=True)
class Latency(Toxic):
    """Everything arrives ``latency`` ± ``jitter`` seconds later; the order stays."""

    type: ClassVar[str] = "latency"
    units: ClassVar[Mapping[str, float]] = {"latency": _MS, "jitter": _MS}
    latency: float
    jitter: float = 0.0


@dataclass(frozen=True)
class Bandwidth(Toxic):
    """At most ``rate`` bytes per second pass on each connection; 0: none, until the toxic is changed or removed."""

    type: ClassVar[str] = "bandwidth"
    units: ClassVar[Mapping[str, float]] = {"rate": _KB}
    rate: float


@dataclass(frozen=True)
class SlowClose(Toxic):
    """The end of the stream arrives ``delay`` seconds later."""

    type: ClassVar[str] = "slow_close"
    units: ClassVar[Mapping[str, float]] = {"delay": _MS}
    delay: float


@dataclass(frozen=True)
class Timeout(Toxic):
    """Data is swallowed; ``timeout`` seconds later the connection is closed (0: only when the toxic is removed)."""

    type: ClassVar[str] = "timeout"
    units: ClassVar[Mapping[str, float]] = {"timeout": _MS}
    timeout: float = 0.0


@dataclass(frozen=True)
class ResetPeer(Toxic):
    """``timeout`` seconds after the first data the connection is reset (RST); the data does not pass."""

    type: ClassVar[str] = "reset_peer"
    units: ClassVar[Mapping[str, float]] = {"timeout": _MS}
    timeout: float = 0.0


@dataclass(frozen=True)
class Slicer(Toxic):
    """Data passes in pieces of ``average_size`` ± ``size_variation`` bytes, with ``delay`` seconds between them."""

    type: ClassVar[str] = "slicer"
    units: ClassVar[Mapping[str, float]] = {"average_size": 1, "size_variation": 1, "delay": _US}
    average_size: int
    size_variation: int = 0
    delay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.average_size < 1:
            raise ToxicError("slicer: average_size must be at least 1 byte")
        if self.size_variation >= self.average_size:
            raise ToxicError("slicer: size_variation must be smaller than average_size")


@dataclass(frozen=True)
class LimitData(Toxic):
    """After ``bytes`` bytes the connection is closed."""

    type: ClassVar[str] = "limit_data"
    units: ClassVar[Mapping[str, float]] = {"bytes": 1}
    bytes: int


TOXICS: dict[str, type[Toxic]] = {
    kind.type: kind for kind in (Latency, Bandwidth, SlowClose, Timeout, ResetPeer, Slicer, LimitData)
}


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A toxic in its place on a proxy.

    Args:
        name: unique on its proxy.
        toxic: what it does.
        stream: ``upstream``: what the client sends; ``downstream``: what the client gets.
        toxicity: the share of connections that it is done to, 0 to 1; drawn once for each connection.

    Raises:
        ToxicError: no such stream, or a toxicity that is no share.
    """

    name: str
    toxic: Toxic
    stream: Stream = "downstream"
    toxicity: float = 1.0

    def __post_init__(self) -> None:
        if self.stream not in STREAMS:
            raise ToxicError(_unknown("stream", str(self.stream), STREAMS))
        _check(self.name, "toxicity", self.toxicity)
        if self.toxicity > 1:
            raise ToxicError(f"{self.name}: toxicity is a share from 0 to 1, not {self.toxicity!r}")


def toxic_from(type: str, attributes: Mapping[str, Any]) -> Toxic:
    """Build the toxic of this type from Toxiproxy's attributes.

    Raises:
        ToxicError: no such type or attribute (the message names those there are), or a value that cannot work.
    """
    kind = TOXICS.get(type)
    if kind is None:
        raise ToxicError(_unknown("toxic", type, TOXICS))
    return kind.from_attributes(attributes)


def _check(owner: str, name: str, value: object, *, whole: bool = False) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ToxicError(f"{owner}: {name} must be a number, not {value!r}")
    if not math.isfinite(value) or value < 0:
        raise ToxicError(f"{owner}: {name} must be a number from 0, not {value!r}")
    if whole and not isinstance(value, int):
        raise ToxicError(f"{owner}: {name} must be a whole number of bytes, not {value!r}")


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    return f"no {what} {name!r}; there are: {', '.join(known)}.{guess}"


def _plain(value: float) -> float:
    value = round(value, 6)
    return int(value) if value == int(value) else value
