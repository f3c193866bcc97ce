"""What metrics read of a manager: only these, so that anything of the same shape can be read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from tether.core.cause import Code
from tether.core.lifecycle import Status


class Figures(Protocol):
    """The figures of one connection, counted since it was made; ``tether.runtime.stats.Stats`` explains each."""

    @property
    def type(self) -> str:
        """The technology, such as ``redis``."""

    @property
    def status(self) -> Status:
        """The public status."""

    @property
    def paused(self) -> bool:
        """Whether it is left alone until ``resume()``."""

    @property
    def degraded(self) -> bool:
        """Whether something could not be restored yet."""

    @property
    def flapping(self) -> bool:
        """Whether it comes and goes without becoming stable."""

    @property
    def reconnect_attempts(self) -> int:
        """Dials begun, without first connects."""

    @property
    def reconnects(self) -> int:
        """Those of them that connected."""

    @property
    def reconnect_failures(self) -> Mapping[Code, int]:
        """Those of them that failed, by cause."""

    @property
    def losses(self) -> int:
        """Connections lost."""

    @property
    def probes_failed(self) -> int:
        """Probes without a good answer."""

    @property
    def stalls(self) -> int:
        """Times that this process's own loop was late for a verdict."""

    @property
    def callbacks_failed(self) -> int:
        """Callbacks that raised or took too long."""

    @property
    def dropped(self) -> int:
        """Callback calls and messages dropped because a queue was full."""

    @property
    def session_uptime(self) -> float:
        """Seconds that the present connection has been up; 0 while down."""

    @property
    def last_reconnect(self) -> datetime | None:
        """When the latest connection after a loss came up (aware); ``None`` before any."""

    @property
    def latencies(self) -> tuple[int, ...]:
        """How many reconnects fell into each bucket of ``LATENCY_BUCKETS``, and above; ``()`` before the first."""

    @property
    def latency_sum(self) -> float:
        """Seconds of all reconnect latencies together."""


class FiguresByName(Protocol):
    """A ``ReconnectManager``, as metrics see it."""

    def status(self) -> Mapping[str, Figures]:
        """Return the figures of each connection as they are now."""
