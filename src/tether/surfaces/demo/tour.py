"""The tour: breaks the server in three ways, mends it, and measures how the connection took it. Prints nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tether.surfaces.demo.board import Board
from tether.surfaces.demo.ledger import SETTLE, Ledger
from tether.surfaces.demo.outage import Outage
from tether.surfaces.demo.words import outcome
from tether.surfaces.words import Tone

POLL = 0.01
"""Seconds between two looks at what is waited for. What is measured comes from events, not from these looks."""


class Breakable(Protocol):
    """What the tour does to a server (``tether.testing.servers.ServerProcess`` is one). All calls block."""

    def start(self) -> None:
        """Start it, and wait until it answers."""

    def kill(self) -> None:
        """SIGKILL."""

    def terminate(self) -> None:
        """SIGTERM, and wait."""

    def freeze(self) -> None:
        """SIGSTOP."""

    def thaw(self) -> None:
        """SIGCONT."""


Action = Callable[[Breakable], None]
Do = Callable[[Action], Awaitable[float]]
"""Carries out an action without blocking the loop, and answers with the moment in which it was done."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One step of the tour.

    Attributes:
        name: for the table.
        mark: for the heartbeat.
        deed: what the demo does, in words.
        hurt: does it.
        mend: what it will do then, in words.
        heal: does that.
        mended: what it has done then, in words.
        mended_mark: for the heartbeat.
    """

    name: str
    mark: str
    deed: str
    hurt: Action
    mend: str
    heal: Action
    mended: str
    mended_mark: str


FAULTS = (
    Fault(
        name="kill -9, restart",
        mark="kill -9",
        deed="kill -9 → server",
        hurt=lambda server: server.kill(),
        mend="restart in",
        heal=lambda server: server.start(),
        mended="server restarted, accepts again",
        mended_mark="up",
    ),
    Fault(
        name="freeze, thaw",
        mark="freeze",
        deed="kill -STOP → server: frozen",
        hurt=lambda server: server.freeze(),
        mend="thaw in",
        heal=lambda server: server.thaw(),
        mended="kill -CONT → server: thawed",
        mended_mark="thaw",
    ),
    Fault(
        name="clean stop, restart",
        mark="stop",
        deed="kill -TERM → server: clean stop",
        hurt=lambda server: server.terminate(),
        mend="restart in",
        heal=lambda server: server.start(),
        mended="server restarted, accepts again",
        mended_mark="up",
    ),
)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the tour goes. Seconds.

    Attributes:
        steady: quiet before the first fault and after each.
        outage: from striking to mending.
        patience: for the connection to come back, and then for messages to flow.
        sample: per sample of the heartbeat.
    """

    steady: float
    outage: float
    patience: float = 10.0
    sample: float = 0.25


FAST = Pace(steady=1.5, outage=3.5)
CALM = Pace(steady=5.0, outage=8.0, sample=0.5)


class Tour:
    """Breaks and mends the server, and has the board keep the results.

    Args:
        do: carries out what is done to the server.
        board: told of everything.
        ledger: knows whether messages flow.
        pace: how fast.
        faults: what to do.
    """

    def __init__(
        self, do: Do, board: Board, ledger: Ledger, pace: Pace, faults: Sequence[Fault] = FAULTS
    ) -> None:
        self._do, self._board, self._ledger, self._pace, self._faults = do, board, ledger, pace, faults

    async def for_ever(self) -> None:
        """Go round after round."""
        while True:
            await self.once()

    async def once(self) -> None:
        """Go one round."""
        self._board.begin_round()
        await asyncio.sleep(self._pace.steady)
        for fault in self._faults:
            await self._strike(fault)
        self._board.end_round()

    async def _strike(self, fault: Fault) -> None:
        now = asyncio.get_running_loop().time
        await self._until(lambda: not self._ledger.in_flight(now()), 2 * SETTLE)
        outage = self._board.begin(fault.name)
        self._board.act(fault.deed, ok=False, mark=fault.mark, mend=fault.mend, mend_in=self._pace.outage)
        await self._do(fault.hurt)
        await asyncio.sleep(outage.began + self._pace.outage - now())
        outage.accepts_at = await self._do(fault.heal)
        self._board.act(fault.mended, ok=True, mark=fault.mended_mark)
        await self._recovery(outage)
        await self._until(lambda: not self._ledger.in_flight(now()), 2 * SETTLE)
        result = self._board.end()
        if result is not None:
            healed = "healed" if result.healed else "NOT HEALED"
            self._board.say("demo", f"{healed}: {outcome(result)}", Tone.GOOD if result.healed else Tone.BAD)

    async def _recovery(self, outage: Outage) -> None:
        """Wait until the connection is back and messages flow; then a while longer, to count them."""
        if outage.lost_at is not None:
            await self._until(lambda: outage.back_at is not None, self._pace.patience)
        if outage.back_at is not None:
            await self._until(lambda: self._flows(outage), self._pace.patience)
        await asyncio.sleep(self._pace.steady)
        outage.flowed = self._flows(outage)  # still connected, and messages came since

    def _flows(self, outage: Outage) -> bool:
        now = asyncio.get_running_loop().time()
        latest = self._ledger.last_received_at
        return outage.back_at is not None and latest > outage.back_at and now - latest < SETTLE

    async def _until(self, condition: Callable[[], bool], patience: float) -> None:
        now = asyncio.get_running_loop().time
        deadline = now() + patience
        while not condition() and now() < deadline:  # noqa: ASYNC110 - what is waited for is no event of one place
            await asyncio.sleep(POLL)
