"""What could not be restored is tried again with the backoff, while the rest of the connection works."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Generic

from tether.core import signals as sig
from tether.core.cause import Phase
from tether.ports import H
from tether.runtime.bounded import Bounded
from tether.runtime.host import Host

LEAST = 0.01
"""Seconds between two passes at least, whatever the backoff says."""


class Restoring(Generic[H]):
    """Passes of ``restore`` over one degraded connection, until one leaves nothing out."""

    __slots__ = ("_generation", "_host", "_level", "_pass", "_timer")

    def __init__(self, host: Host[H]) -> None:
        self._host = host
        self._generation = host.link.generation
        self._level = 0
        self._timer: asyncio.TimerHandle | None = None
        self._pass: Bounded[Sequence[str]] | None = None
        self._later()

    def cancel(self) -> None:
        """Try no more: the connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
        if self._pass is not None:
            self._pass.cancel()
            self._host.keep(self._pass.task)

    def _later(self) -> None:
        host = self._host
        assert host.loop is not None
        delay = max(LEAST, host.plan.interval(self._level))
        self._level += 1
        self._timer = host.loop.call_later(delay, self._again)

    def _again(self) -> None:
        host = self._host
        if host.link.paused:
            self._later()
            return
        assert host.handle is not None
        self._pass = Bounded(
            host.connector.restore(host.handle),
            host.watch.connect_timeout,
            self._done,
            lambda _: None,
            host.stalled,
        )

    def _done(self, missing: Sequence[str] | None, error: BaseException | None) -> None:
        host, self._pass = self._host, None
        cause = None if error is None else host.find_cause(error, Phase.RESTORE)
        if cause is not None:
            host.feed(sig.Lost(self._generation, cause))
        elif error is not None or missing:
            self._later()
        else:
            host.feed(sig.Restored(self._generation, 0))
