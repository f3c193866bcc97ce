"""The connector of the simulation: keeps the port's contract, and misbehaves in every way that drivers do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from tests.simulation.servers import RESET, Handle, Server, rule
from tests.simulation.story import Story
from tether.errors import NoVerdict
from tether.ports import Attempt, Connector


class Pool:
    """A user's own client: every call finds a way by itself, or fails."""

    def __init__(self, connector: SimulatedConnector) -> None:
        self._connector = connector

    async def call(self) -> None:
        """Make one round trip."""
        connector = self._connector
        session = Handle(0, _NOBODY, connector.server.epoch)
        await connector.server.exchange(session, connector.dice)


class _Nobody:
    """The attempt of a connection that no dial of tether's has made."""

    generation = 0
    is_reconnect = False
    phase: Any = None
    credential: Any = None

    def lost(self, error: BaseException) -> None:
        """Nobody listens."""


_NOBODY = _Nobody()


class SimulatedConnector(Connector[Handle]):
    """Connects to a simulated server.

    Attributes:
        manners: how it misbehaves at present: what, and for how long.
        handles: all that were opened, in order.
    """

    kind = "simulated"
    rules = (rule,)

    def __init__(self, server: Server, story: Story, dice: random.Random, client: str) -> None:
        self.server, self.story, self.dice = server, story, dice
        self.endpoint = story.name
        self.client = None if client == "handle" else Pool(self)
        self.driver_retries = client == "retrying"
        self.credential = 0
        self.manners: dict[str, float] = {}
        self.handles: list[Handle] = []

    # -- the port -----------------------------------------------------------------------------------------------------

    async def open(self, attempt: Attempt) -> Handle:
        """Connect, as well as the server lets us."""
        self.story.opening(attempt.generation, asyncio.current_task())
        credential = self.credential if attempt.credential is None else attempt.credential
        try:
            await self.server.connect(attempt, credential, self.dice)
        except asyncio.CancelledError:
            await self._cling()
            if "late success" not in self.manners:
                raise
        except PermissionError:
            self.story.refused(credential)
            raise
        handle = Handle(attempt.generation, attempt, self.server.epoch)
        self.handles.append(handle)
        self.server.handles.append(handle)
        self.story.opened(handle, credential)
        if "flap" in self.server.faults:
            (after,) = self.server.faults["flap"]
            asyncio.get_running_loop().call_later(after, self._flap, handle)
        if "lost in open" in self.manners:
            self.lose(handle, RESET(104, "while opening"))
        return handle

    async def restore(self, handle: Handle) -> Sequence[str]:
        """Bring back one item."""
        self.story.restoring(handle)
        try:
            await self.server.exchange(handle, self.dice)
        except Exception:
            self.story.justify(handle.generation, "restore")
            raise
        if "restore fails" in self.manners:
            self.story.justify(handle.generation, "restore")
            raise RESET(104, "while restoring") if self.dice.random() < 0.5 else KeyError("odd")
        missing = ("item",) if "missing" in self.manners else ()
        self.story.restored(handle, missing=bool(missing))
        return missing

    async def probe(self, handle: Handle) -> None:
        """Make one round trip."""
        self.story.probing(handle)
        if "no verdict" in self.manners and handle is self.story.live_handle:
            self.story.unasked(handle)
            raise NoVerdict("the pool is exhausted")
        try:
            await self.server.exchange(handle, self.dice)
        except asyncio.CancelledError:
            await self._cling()
            if "late probe" not in self.manners:
                raise
            return
        except Exception:
            self.story.justify(handle.generation, "probe")
            raise
        self.story.answered(handle)

    def abort(self, handle: Handle) -> None:
        """Drop it, with more or less noise."""
        self.story.note(f"abort {handle.generation}")
        handle.ended = handle.ended or "aborted"
        if "late error" in self.manners:
            loop = asyncio.get_running_loop()
            loop.call_later(self.manners["late error"], self.lose, handle, RESET(104, "late"))
        if "lost in abort" in self.manners:
            self.lose(handle, RESET(104, "while aborting"))
        if "abort raises" in self.manners:
            raise RuntimeError("dropped already")

    async def close(self, handle: Handle) -> None:
        """Say goodbye, unless it hangs or fails."""
        self.story.note(f"close {handle.generation}")
        handle.closing = True
        if "close hangs" in self.manners:
            await asyncio.get_running_loop().create_future()
        if "close raises" in self.manners:
            raise RESET(104, "while closing")
        await self.server.exchange(handle, self.dice)
        handle.ended = "closed"

    # -- what happens to connections ----------------------------------------------------------------------------------

    def lose(self, handle: Handle, error: BaseException) -> None:
        """Have the driver say that a connection has died."""
        handle.dead = handle.dead or error
        with self.story.old_news(handle.generation):
            handle.attempt.lost(error)

    def _flap(self, handle: Handle) -> None:
        if "flap" in self.server.faults and not handle.ended:
            self.lose(handle, RESET(104, "flapping"))

    async def _cling(self) -> None:
        """Take a while to give in to a cancellation, whatever else is cancelled meanwhile."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self.manners.get("stubborn", 0.0)
        while loop.time() < end:
            try:
                await asyncio.sleep(end - loop.time())
            except asyncio.CancelledError:
                continue
