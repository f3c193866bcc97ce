"""Simulated servers and the network before them: what is up, what is lost on the way, what is merely slow."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tether.core.cause import Cause, Code, Phase, Verdict
from tether.core.hint import RetryHint
from tether.ports import Attempt

LATENCY = 0.01
RETRANSMIT = 0.2
"""Seconds after which a lost packet is sent again; then twice as long."""

STAGGER = 0.25
"""Seconds before the next address is tried while the last one is silent."""

RESET = ConnectionResetError
BREAKS = {"crash", "vanish", "loading"}
"""Faults by which a server forgets its sessions."""


class Busy(Exception):
    """The server refuses for now; it may say when to come back (loop time)."""

    def __init__(self, not_before: float | None) -> None:
        super().__init__("busy")
        self.not_before = not_before


class Trouble(Exception):
    """The server fails by itself."""


def rule(error: BaseException, phase: Phase) -> Verdict:
    """What the errors of these servers mean."""
    if isinstance(error, PermissionError):
        return Code.AUTH
    if isinstance(error, Trouble):
        return Code.SERVER_ERROR
    if isinstance(error, Busy):
        hint = None if error.not_before is None else RetryHint(error.not_before)
        return Cause(Code.OVERLOADED, phase, error, hint)
    return None


@dataclass(eq=False, slots=True)
class Handle:
    """One simulated connection.

    Attributes:
        epoch: of the server that knows it; after a restart nobody does.
        mute: whether the peer is silent on it for good.
        dead: what the driver knows to have ended it.
        ended: how the runtime ended it; '' while it has not.
        closing: whether a goodbye has begun.
        doomed_at: when it stopped being of use, if it did.
        answered: whether its last probe was answered.
    """

    generation: int
    attempt: Attempt
    epoch: int
    mute: bool = False
    dead: BaseException | None = None
    ended: str = ""
    closing: bool = False
    doomed_at: float | None = None
    answered: bool = False

    def doom(self) -> None:
        """It is of no use any more, from now on."""
        if self.doomed_at is None:
            self.doomed_at = asyncio.get_running_loop().time()


class Changes:
    """Those who wait for the world to change."""

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    def tell(self) -> None:
        """Wake all; each looks whether it was this that it waited for."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition()`` holds."""
        while not condition():
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def forget(self) -> None:
        """The loop is gone, and those who waited with it."""
        self._waiters.clear()


class Server:
    """One server, its name, its addresses and the path to it.

    Attributes:
        faults: what is wrong at present, with its arguments.
        epoch: grows with every restart.
        secret: the credential that it takes.
        handles: all that were opened here.
    """

    def __init__(self, changes: Changes) -> None:
        self.faults: dict[str, tuple[Any, ...]] = {}
        self.changes = changes
        self.epoch = 0
        self.secret = 0
        self.silent_since: float | None = None
        self.handles: list[Handle] = []

    # -- what happens to it -------------------------------------------------------------------------------------------

    def begin(self, fault: str, args: tuple[Any, ...]) -> list[Handle]:
        """Let a fault begin; return the sessions whose end their drivers hear of."""
        self.faults[fault] = args
        hearing: list[Handle] = []
        if fault in BREAKS:
            self.epoch += 1
            hearing = self._reachable() if fault != "vanish" else []
            for handle in self.open_handles:
                handle.doom()
        if fault == "deny":
            self.secret += 1
            hearing = self._reachable() if args[0] else []
        self._note_silence()
        return hearing

    def heal(self, fault: str | None = None) -> None:
        """Let one fault end, or all."""
        for name in [fault] if fault else list(self.faults):
            self.faults.pop(name, None)
            if name == "deny":
                self.secret = 0
        self._note_silence()
        self.changes.tell()

    @property
    def open_handles(self) -> list[Handle]:
        """The connections that the runtime has not ended."""
        self.handles = [handle for handle in self.handles if not handle.ended]
        return self.handles

    def _reachable(self) -> list[Handle]:
        return [handle for handle in self.open_handles if not (handle.mute or self._blocked("in"))]

    def _note_silence(self) -> None:
        silent = bool(self.faults.keys() & {"freeze", "vanish", "partition"})
        if not silent:
            self.silent_since = None
        elif self.silent_since is None:
            self.silent_since = asyncio.get_running_loop().time()

    def _blocked(self, way: str) -> bool:
        return "vanish" in self.faults or self.faults.get("partition", ("",))[0] in {"both", way}

    # -- what it does -------------------------------------------------------------------------------------------------

    async def connect(self, attempt: Attempt, credential: object, dice: random.Random) -> None:
        """Look up, connect, log in."""
        attempt.phase = Phase.DNS
        await self._reach(attempt, self.faults.get("dns", ((1,),))[0])
        await self._packet("out", dice)
        if "crash" in self.faults:
            raise ConnectionRefusedError(111, "refused")
        await self._packet("in", dice)
        attempt.phase = Phase.AUTH
        await self._served(dice)
        if "loading" in self.faults:
            (wait,) = self.faults["loading"]
            raise Busy(None if wait is None else asyncio.get_running_loop().time() + wait)
        if "errors" in self.faults:
            raise Trouble("500")
        if "crash" in self.faults:
            raise RESET(104, "reset")
        if credential != self.secret:
            raise PermissionError(13, "wrong credential")

    async def _reach(self, attempt: Attempt, addresses: tuple[int, ...]) -> None:
        await asyncio.sleep(LATENCY)
        if not addresses:
            raise socket.gaierror(-2, "no such name")
        attempt.phase = Phase.TCP
        for alive in addresses:
            if alive:
                return
            await asyncio.sleep(STAGGER)  # silent; the next one is tried meanwhile
        await self.changes.until(lambda: "dns" not in self.faults)

    async def exchange(self, handle: Handle, dice: random.Random) -> None:
        """Make one round trip on an open connection."""
        await self._packet("out", dice)
        await self._check(handle)
        await self._served(dice)
        await self._check(handle)

    async def _served(self, dice: random.Random) -> None:
        await self.changes.until(lambda: "freeze" not in self.faults)
        await self._packet("in", dice)

    async def _check(self, handle: Handle) -> None:
        if handle.mute:
            await asyncio.get_running_loop().create_future()
        if handle.ended:
            raise ConnectionAbortedError(103, "closed by ourselves")
        if handle.dead is not None:
            raise type(handle.dead)(*handle.dead.args)
        if handle.epoch != self.epoch or "crash" in self.faults:
            raise RESET(104, "reset")

    async def _packet(self, way: str, dice: random.Random) -> None:
        delay = self.faults.get("delay", (LATENCY,))[0]
        (chance,) = self.faults.get("loss", (0.0,))
        again = RETRANSMIT
        while dice.random() < chance:
            delay, again = delay + again, again * 2
        await asyncio.sleep(delay)
        await self.changes.until(lambda: not self._blocked(way))
