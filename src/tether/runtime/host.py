"""What the engine's parts (dialing, watching, restoring) see of the engine."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from tether.core import signals as sig
from tether.core.backoff import Rand
from tether.core.cause import Cause, Phase
from tether.core.events import Kind
from tether.core.link import Link
from tether.core.schedule import Plan
from tether.ports import Connector, H
from tether.runtime.options import Watch


class Host(Protocol[H]):
    """The engine, as its parts see it."""

    link: Link
    loop: asyncio.AbstractEventLoop | None
    plan: Plan
    watch: Watch
    rand: Rand
    connector: Connector[H]
    handle: H | None
    up: bool

    def now(self) -> float:
        """Monotonic seconds of the connection's loop."""

    def feed(self, signal: sig.Signal) -> None:
        """Hand a signal to the machine, and carry out what follows."""

    def tell(
        self, kind: Kind, cause: Cause | None = None, elapsed: float | None = None, **detail: Any
    ) -> None:
        """Publish an event that is none of the machine's."""

    def find_cause(self, error: BaseException, phase: Phase = Phase.READY) -> Cause | None:
        """Return the cause of ``error``, or ``None`` when it is not a loss."""

    def cause_of(self, error: BaseException, phase: Phase) -> Cause:
        """Return the cause of what ended an attempt, a probe or a connection: always one."""

    def keep(self, task: asyncio.Task[Any] | None) -> None:
        """Remember a task that may still be unwinding."""

    def stalled(self, late: float) -> None:
        """Report that our own loop was late, and that a verdict was held back for it."""

    def abort(self, handle: H) -> None:
        """Drop a connection, whatever its driver raises."""

    def attempt_ended(self, generation: int, error: BaseException | None) -> None:
        """Take the outcome of a dial."""

    def connection_lost(self, generation: int, error: BaseException) -> None:
        """Take a driver's word that a connection has died."""
