"""Random schedules of faults and commands, from a seed: whatever happens, the invariants hold."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.runtime.support import STOP_BOUND, Misbehaving, forever, now, settle, stall, stubborn, supervise
from tether import IndeterminateError, NotConnected, NoVerdict, Reconnector, Status, UsageError
from tether.backoff import exponential_backoff
from tether.core.events import Kind, ReconnectEvent
from tether.ports import Attempt
from tether.testing.clock import run_virtual
from tether.testing.scripted import ScriptedConnection

EXPECTED = (UsageError, NotConnected, IndeterminateError, TimeoutError, asyncio.CancelledError)
STEPS = 80


class World:
    """One connection in a world that rolls dice.

    Args:
        seed: decides everything.
    """

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.trace: list[tuple[float, str]] = []
        self.events: list[ReconnectEvent] = []
        self.told = {"lost": 0, "connected": 0, "failed": 0, "gave_up": 0}
        self.helpers: list[asyncio.Task[Any]] = []
        self.complaints: list[Any] = []
        self.leaving: list[ScriptedConnection] = []
        self.connector = Misbehaving(
            open=self._open, restore=self._restore, probe=self._probe, close=self._close, abort=self._abort
        )
        self.r: Reconnector[ScriptedConnection] = supervise(
            self.connector,
            rng=random.Random(seed + 1),
            quick_first_retry=self._maybe(0.5),
            retry_interval=exponential_backoff(self.dice.choice([0, 0.1, 1]), 2, maximum=20),
            max_retries=self.dice.choice([None, None, 0, 3]),
            connect_timeout=self.dice.choice([1, 5]),
            health_check_interval=self.dice.choice([0.5, 3, 10]),
            health_check_timeout=self.dice.choice([0.3, 2]),
            failure_threshold=self.dice.choice([1, 1, 3]),
            stable_after=self.dice.choice([0, 10]),
            callback_timeout=5,
            rules=[lambda error, phase: "auth" if isinstance(error, PermissionError) else None],
            subscribers=[self._heard],
        )
        self.r.on_connect(self._count("connected"))
        self.r.on_reconnect(self._count("connected"))
        self.r.on_disconnect(self._count("lost"))
        self.r.on_reconnect_failed(self._count("failed"))
        self.r.on_give_up(self._count("gave_up"))
        for hook in (self.r.on_connect, self.r.on_disconnect, self.r.on_reconnect_failed):
            hook(self._callback)

    def _maybe(self, chance: float) -> bool:
        return self.dice.random() < chance

    # -- the peer -----------------------------------------------------------------------------------------------------

    async def _open(self, attempt: Attempt) -> ScriptedConnection:
        outcome = self.dice.choices(
            ["ok", "slow", "refused", "denied", "hang", "late", "stubborn", "lost"],
            [40, 12, 20, 4, 8, 6, 4, 6],
        )[0]
        if outcome == "refused":
            raise ConnectionRefusedError(111, "x")
        if outcome == "denied":
            raise PermissionError(13, "x")
        if outcome == "slow":
            await asyncio.sleep(self.dice.uniform(0, 2))
        if outcome == "hang":
            await forever()
        if outcome == "stubborn":
            await stubborn(self.dice.uniform(0, 8))()
        if outcome == "late":
            try:
                await forever()
            except asyncio.CancelledError:
                await asyncio.sleep(0)
        connection = await self.connector.scripted_open(attempt)
        if outcome == "lost":
            asyncio.get_running_loop().call_later(self.dice.choice([0.0, 0.3]), connection.lose)
        return connection

    async def _restore(self, _: ScriptedConnection) -> list[str]:
        outcome = self.dice.choices(["ok", "missing", "reset", "odd", "hang"], [70, 12, 6, 6, 6])[0]
        if outcome == "reset":
            raise ConnectionResetError(104, "x")
        if outcome == "odd":
            raise KeyError("odd")
        if outcome == "hang":
            await forever()
        return ["item"] if outcome == "missing" else []

    async def _probe(self, connection: ScriptedConnection) -> None:
        outcome = self.dice.choices(["ok", "slow", "no verdict", "timeout"], [80, 10, 5, 5])[0]
        if outcome == "slow":
            await asyncio.sleep(self.dice.uniform(0, 1))
        if outcome == "no verdict":
            raise NoVerdict
        if outcome == "timeout":
            await forever()
        await self.connector.scripted_probe(connection)

    async def _close(self, connection: ScriptedConnection) -> None:
        self.leaving.append(connection)
        outcome = self.dice.choice(["ok", "ok", "hang", "raise", "lose"])
        if outcome == "hang":
            await forever()
        if outcome == "raise":
            raise ConnectionResetError(104, "x")
        if outcome == "lose":
            connection.lose()
        connection.closed = True

    def _abort(self, connection: ScriptedConnection) -> None:
        if self._maybe(0.2):
            connection.attempt.lost(ConnectionAbortedError("aborted"))
        if self._maybe(0.1):
            raise RuntimeError("already closed")

    # -- the user -----------------------------------------------------------------------------------------------------

    def _count(self, what: str) -> Callable[..., None]:
        def count(*_: Any) -> None:
            self.told[what] += 1

        return count

    async def _callback(self, *_: Any) -> None:
        outcome = self.dice.choice(["ok", "ok", "raise", "slow", "reconnect", "hang"])
        if outcome == "raise":
            raise ValueError("callback")
        if outcome == "slow":
            await asyncio.sleep(self.dice.uniform(0, 3))
        if outcome == "hang":
            await forever()
        if outcome == "reconnect":
            try:
                await self.r.reconnect()
            except UsageError:
                pass

    async def _call(self) -> None:
        async def operation(connection: ScriptedConnection) -> int:
            assert not connection.closed
            await asyncio.sleep(self.dice.uniform(0, 3))
            if self._maybe(0.2):
                raise ConnectionResetError(104, "x")
            if self._maybe(0.1):
                connection.lose()
            return connection.generation

        timeout = self.dice.choice([None, 1.0, 10.0])
        await self.r.run(operation, idempotent=self._maybe(0.5), timeout=timeout)

    async def _guarded(self) -> None:
        async with self.r.guard() as connection:
            assert not connection.closed
            await asyncio.sleep(self.dice.uniform(0, 3))

    async def _steady(self, coro: Coroutine[Any, Any, Any]) -> None:
        """Await, tolerate what may be raised, and check that no cancellation of ours is left behind."""
        task = asyncio.current_task()
        assert task is not None
        try:
            await coro
        except EXPECTED as error:
            if isinstance(error, asyncio.CancelledError):
                raise
        except ConnectionResetError as error:
            self.complaints.append(error)
        await asyncio.sleep(0)
        assert task.cancelling() == 0

    def _begin(self, coro: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(self._steady(coro))
        self.helpers.append(task)
        if self._maybe(0.25):
            asyncio.get_running_loop().call_later(self.dice.uniform(0, 2), task.cancel)

    def _act(self) -> None:
        r, connections = self.r, self.connector.opened
        some = self.dice.choice(connections[-3:]) if connections else None
        silent = functools.partial(setattr, some, "mute", True) if some else lambda: None
        actions: list[tuple[float, str, Callable[[], Any]]] = [
            (10, "lose", lambda: some.lose() if some else None),
            (5, "die", lambda: some.die() if some else None),
            (5, "mute", silent),
            (
                5,
                "report",
                lambda: r.report(EOFError(), self.dice.choice([None, r.generation, r.generation - 1])),
            ),
            (8, "reconnect", lambda: self._begin(r.reconnect())),
            (5, "pause", r.pause),
            (12, "resume", r.resume),
            (5, "network changed", r.network_changed),
            (3, "credential changed", r.credential_changed),
            (12, "call", lambda: self._begin(self._call())),
            (6, "guard", lambda: self._begin(self._guarded())),
            (4, "wait", lambda: self._begin(r.wait_connected(self.dice.choice([None, 2])))),
            (5, "stop", lambda: self._begin(r.stop())),
            (14, "start", lambda: self._begin(r.start(require_initial=self._maybe(0.2)))),
            (3, "stall", lambda: stall(self.dice.choice([0.2, 3.0, 30.0]))),
            (2, "retries", lambda: setattr(r, "max_retries", self.dice.choice([None, 1, 5]))),
            (15, "nothing", lambda: None),
        ]
        weights, names, calls = zip(*actions, strict=True)
        choice = self.dice.choices(range(len(names)), weights)[0]
        self.trace.append((now(), names[choice]))
        try:
            calls[choice]()
        except UsageError:
            pass

    # -- what must hold -----------------------------------------------------------------------------------------------

    def _heard(self, event: ReconnectEvent) -> None:
        self.events.append(event)
        self.trace.append((now(), event.kind.value))

    def check(self) -> None:
        r = self.r
        assert r.is_connected == (r.status is Status.CONNECTED)
        # The goodbye of the last life may still be under way when the next one begins.
        open_connections = [c.generation for c in self.connector.live if c not in self.leaving]
        assert len(open_connections) <= 1, f"two connections at once: {open_connections}"
        if r.is_connected:
            assert open_connections == [r.generation] == [r.client.generation]
        else:
            assert all(generation == r.generation for generation in open_connections)
        stats = r.stats()
        assert (stats.next_attempt_in is None) or not (stats.paused or r.is_connected)
        assert stats.uptime >= 0
        assert self.complaints == []

    def check_story(self) -> None:
        connected = False
        generation = 0
        for event in self.events:
            assert event.generation >= generation
            generation = event.generation
            match event.kind:
                case Kind.CONNECTED | Kind.RECONNECTED:
                    assert not connected
                    connected = True
                case Kind.LOST:
                    assert connected
                    connected = False
                case Kind.STOPPED:
                    connected = False
                case Kind.ATTEMPT_STARTED | Kind.ATTEMPT_FAILED | Kind.GAVE_UP:
                    assert not connected
            assert (event.status is Status.CONNECTED) == connected
        kinds = [event.kind for event in self.events]
        assert self.told["connected"] <= kinds.count(Kind.CONNECTED) + kinds.count(Kind.RECONNECTED)
        assert self.told["lost"] <= kinds.count(Kind.LOST)

    async def run(self) -> list[tuple[float, str]]:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self.complaints.append(context))
        self._begin(self.r.start())
        for _ in range(STEPS):
            self._act()
            await settle()
            self.check()
            await asyncio.sleep(self.dice.choice([0.0, 0.05, 0.5, 3.0, 20.0]))
            await settle()
            self.check()
        await self._end()
        return self.trace

    async def _end(self) -> None:
        began = now()
        await self.r.stop()
        assert now() - began <= STOP_BOUND
        assert self.connector.live == []
        assert self.r.status is Status.DISCONNECTED
        dials = len(self.connector.dials)
        await asyncio.sleep(30)  # longer than any deadline of a call, and than any stubborn driver
        await settle()
        assert len([t for t in self.helpers if not t.done()]) == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert len(self.connector.dials) == dials
        assert self.connector.live == []
        for helper in self.helpers:
            if not helper.cancelled():
                assert helper.exception() is None
        assert self.complaints == []
        self.check_story()


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_the_invariants_hold(seed: int) -> None:
    run_virtual(World(seed).run())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60, 3000, 49))
def test_whatever_happens_for_long_the_invariants_hold(seed: int) -> None:
    for number in range(seed, seed + 49):
        run_virtual(World(number).run())


def test_the_same_seed_tells_the_same_story() -> None:
    first, second, other = (run_virtual(World(seed).run()) for seed in (7, 7, 8))
    assert first == second
    assert first != other
