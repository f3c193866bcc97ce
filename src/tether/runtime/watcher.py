"""Watches a live connection: one probe at a time, its verdict by thresholds, the next one from the timer wheel."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Generic

from tether.core import signals as sig
from tether.core.cause import Phase
from tether.core.events import Kind
from tether.core.health import Health
from tether.errors import NoVerdict
from tether.ports import H
from tether.runtime.bounded import Bounded
from tether.runtime.host import Host
from tether.runtime.wheel import Timer, wheel_of


class Watcher(Generic[H]):
    """Probes the live connection of one engine."""

    __slots__ = ("_health", "_host", "_probe", "_timer")

    def __init__(self, host: Host[H]) -> None:
        self._host = host
        self._health = Health(host.watch.failure_threshold)
        self._probe: Bounded[None] | None = None
        self._timer: Timer | None = None

    def begin(self) -> None:
        """Watch a new connection."""
        host = self._host
        self._health = self._health.updated(ok=True)
        # A random phase: ten thousand connections made in one second must not be probed in one second for ever.
        self._later(host.rand() * host.watch.interval)

    def end(self) -> None:
        """Probe no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        probe, self._probe = self._probe, None
        if probe is not None:
            probe.cancel()
            self._host.keep(probe.task)

    def probe_now(self) -> None:
        """Probe the live connection, unless a probe is under way."""
        host = self._host
        if not host.up or self._probe is not None or host.handle is None or host.link.paused:
            return
        if self._timer is not None:
            self._timer.cancel()
        done = partial(self._probed, host.link.generation, host.now())
        self._probe = Bounded(
            host.connector.probe(host.handle), host.watch.timeout, done, lambda _: None, host.stalled
        )

    async def verdict(self) -> None:
        """Wait for the probe under way, if there is one; bounded by the probe's own deadline."""
        if self._probe is not None:
            await asyncio.wait({self._probe.task}, timeout=self._host.watch.timeout)

    def _probed(self, generation: int, started: float, _: None, error: BaseException | None) -> None:
        host = self._host
        probe, self._probe = self._probe, None
        if generation != host.link.generation or not host.up:
            return
        if error is None:
            self._health = self._health.updated(ok=True)
        elif not isinstance(error, NoVerdict):
            host.keep(None if probe is None else probe.task)
            if self._failed(generation, error):
                return
        # A doubt is followed up even without health checks: one failed probe of three must not be the last.
        doubtful = self._health.consecutive_failures > 0
        self._later(max(0.0, started + host.watch.interval - host.now()), even_so=doubtful)

    def _failed(self, generation: int, error: BaseException) -> bool:
        """Count a failed probe; return whether the connection is lost by it."""
        host = self._host
        cause = host.cause_of(error, Phase.READY)
        self._health = self._health.updated(ok=False)
        host.tell(Kind.PROBE_FAILED, cause)
        if self._health.is_lost:
            host.feed(sig.Lost(generation, cause))
        return self._health.is_lost

    def _later(self, delay: float, *, even_so: bool = False) -> None:
        host = self._host
        if (host.watch.health_check or even_so) and not host.link.paused and host.loop is not None:
            self._timer = wheel_of(host.loop).call_later(delay, self.probe_now)
