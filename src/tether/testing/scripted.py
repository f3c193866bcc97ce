"""An in-memory connector that does what a script says: for tests of what is built on tether, without any server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tether.core.cause import Phase
from tether.ports import Attempt, Connector


@dataclass(eq=False, slots=True)
class ScriptedConnection:
    """What ``ScriptedConnector`` opens.

    Attributes:
        generation: of the dial that opened it.
        closed: whether it was closed or aborted.
    """

    generation: int
    attempt: Attempt = field(repr=False)
    closed: bool = False
    dead: BaseException | None = None
    mute: bool = False

    def lose(self, error: BaseException | None = None) -> None:
        """Die, and say so: as a driver whose socket reports a reset."""
        self.dead = error or ConnectionResetError(104, "scripted reset")
        self.attempt.lost(self.dead)

    def die(self, error: BaseException | None = None) -> None:
        """Die in silence: the next probe finds out."""
        self.dead = error or ConnectionResetError(104, "scripted reset")


@dataclass(frozen=True, slots=True)
class Hang:
    """A step of a script: the dial hangs until its deadline."""


@dataclass(frozen=True, slots=True)
class Accept:
    """A step of a script: the dial succeeds.

    Attributes:
        after: seconds that the dial takes.
        lasts: seconds after which the connection is reset; ``None`` for ever.
    """

    after: float = 0.0
    lasts: float | None = None


Outcome: TypeAlias = Accept | Hang | BaseException | type[BaseException]


class ScriptedConnector(Connector[ScriptedConnection]):
    """A connector whose dials end as the script says, one after the other.

    Args:
        script: one outcome per dial: ``Accept()``, ``Hang()``, or an exception to raise.
        then: the outcome of every dial after the script's end.
        phase: the phase in which failing dials fail.
        on_restore: called with the connection to restore; may raise, and may return names of what is missing.

    Attributes:
        dials: loop time of each dial.
        opened: connections in the order in which they were opened.
        probes: number of probes.
        restores: number of restores.
        credentials: the credential of each dial.
    """

    kind = "scripted"
    endpoint = "memory"

    def __init__(
        self,
        script: Iterable[Outcome] = (),
        *,
        then: Outcome | None = None,
        phase: Phase = Phase.TCP,
        on_restore: Callable[[ScriptedConnection], Sequence[str] | None] | None = None,
    ) -> None:
        self._script = iter(script)
        self.then: Outcome = Accept() if then is None else then
        self._phase = phase
        self._on_restore = on_restore
        self.dials: list[float] = []
        self.opened: list[ScriptedConnection] = []
        self.credentials: list[Any] = []
        self.probes = 0
        self.restores = 0

    @property
    def live(self) -> list[ScriptedConnection]:
        """Connections that were opened and neither closed nor aborted."""
        return [connection for connection in self.opened if not connection.closed]

    async def open(self, attempt: Attempt) -> ScriptedConnection:
        """End as the next line of the script says."""
        loop = asyncio.get_running_loop()
        self.dials.append(loop.time())
        self.credentials.append(attempt.credential)
        attempt.phase = self._phase
        outcome = next(self._script, self.then)
        if isinstance(outcome, Hang):
            await loop.create_future()
        if not isinstance(outcome, Accept):
            raise outcome if isinstance(outcome, BaseException) else outcome()  # type: ignore[operator]
        if outcome.after:
            await asyncio.sleep(outcome.after)
        connection = ScriptedConnection(attempt.generation, attempt)
        if outcome.lasts is not None:
            loop.call_later(outcome.lasts, self._end, connection)
        self.opened.append(connection)
        return connection

    @staticmethod
    def _end(connection: ScriptedConnection) -> None:
        if not connection.closed:
            connection.lose()

    async def restore(self, handle: ScriptedConnection) -> Sequence[str]:
        """Ask ``on_restore``."""
        self.restores += 1
        return (self._on_restore(handle) if self._on_restore else None) or ()

    async def probe(self, handle: ScriptedConnection) -> None:
        """Answer, or raise, or stay silent, as the connection is."""
        self.probes += 1
        if handle.closed:
            raise ConnectionAbortedError("the connection is closed")
        if handle.mute:
            await asyncio.get_running_loop().create_future()
        if handle.dead is not None:
            raise handle.dead

    def abort(self, handle: ScriptedConnection) -> None:
        """Mark it closed."""
        handle.closed = True
