"""``stop()``: quick in every state and fault, idempotent, and nothing is left or happens afterwards."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.runtime.support import (
    REFUSED,
    STOP_BOUND,
    Misbehaving,
    Notes,
    R,
    forever,
    now,
    settle,
    stubborn,
    supervise,
    timers,
    virtual,
)
from tether import IndeterminateError, NotConnected, Status
from tether.backoff import fixed_interval
from tether.core.events import Kind
from tether.ports import Attempt
from tether.testing.scripted import Accept, Hang, ScriptedConnection, ScriptedConnector

Situation = Callable[[], Awaitable[tuple[R, Misbehaving]]]


async def _begin(connector: Misbehaving, after: float, **options: Any) -> tuple[R, Misbehaving]:
    r = supervise(connector, **options)
    starting = asyncio.create_task(r.start())
    await asyncio.sleep(after)
    starting.cancel()
    await asyncio.wait({starting})
    return r, connector


def _reopening(restore: Any = None, probe: Any = None) -> Misbehaving:
    """Return a connector that answers well until the connection is up, and then as given."""

    async def second(handle: ScriptedConnection, step: Any, count: int) -> Any:
        return await step(handle) if step is not None and count > 1 else ()

    async def restoring(handle: ScriptedConnection) -> Any:
        if restore is None:
            return ()
        return ["missing"] if connector.restores == 1 else await second(handle, restore, connector.restores)

    async def probing(handle: ScriptedConnection) -> Any:
        return await second(handle, probe, connector.probes)

    connector = Misbehaving(restore=restoring, probe=probing)
    return connector


async def _paused() -> tuple[R, Misbehaving]:
    r, connector = await _begin(Misbehaving(), 1)
    r.pause()
    return r, connector


async def _paused_while_down() -> tuple[R, Misbehaving]:
    r, connector = await _begin(Misbehaving(then=REFUSED), 1.5)
    r.pause()
    return r, connector


SITUATIONS: dict[str, Situation] = {
    "connected": lambda: _begin(Misbehaving(), 1),
    "in its first dial": lambda: _begin(Misbehaving(then=Hang()), 1),
    "in a dial that resists": lambda: _begin(Misbehaving(open=stubborn(30)), 1),
    "in the first backoff sleep": lambda: _begin(Misbehaving(then=REFUSED), 1.5),
    "in a long backoff sleep": lambda: _begin(
        Misbehaving(then=REFUSED), 100, retry_interval=fixed_interval(3600)
    ),
    "in the sleep after a loss": lambda: _begin(Misbehaving([Accept(lasts=1)]), 1.5),
    "in the dial after a loss": lambda: _begin(Misbehaving([Accept(lasts=1)], then=Hang()), 3),
    "in a restore that hangs": lambda: _begin(Misbehaving(restore=forever), 1),
    "in a restore that resists": lambda: _begin(Misbehaving(restore=stubborn(30)), 1),
    "in a round trip that hangs": lambda: _begin(Misbehaving(probe=forever), 1),
    "in a probe that hangs": lambda: _begin(_reopening(probe=forever), 6),
    "in a probe that resists": lambda: _begin(_reopening(probe=stubborn(30)), 6),
    "degraded": lambda: _begin(_reopening(restore=lambda _: asyncio.sleep(0, ["missing"])), 0.5),
    "in a second restore that hangs": lambda: _begin(_reopening(restore=forever), 2),
    "in a second restore that resists": lambda: _begin(_reopening(restore=stubborn(30)), 2),
    "given up": lambda: _begin(Misbehaving(then=REFUSED), 5, max_retries=1),
    "paused": _paused,
    "paused while down": _paused_while_down,
    "with a goodbye that hangs": lambda: _begin(Misbehaving(close=forever), 1),
    "with a goodbye that resists": lambda: _begin(Misbehaving(close=stubborn(30)), 1),
    "with an abort that raises": lambda: _begin(Misbehaving(close=forever, abort=lambda _: 1 / 0), 1),
    "with a provider that hangs": lambda: _begin(Misbehaving(), 1, credentials=forever),
    "without health checks": lambda: _begin(Misbehaving(), 1, health_check=False),
    "probing often": lambda: _begin(Misbehaving(), 1, health_check_interval=0.5),
}


class TestInEveryState:
    @pytest.mark.parametrize("situation", SITUATIONS)
    @virtual
    async def test_it_returns_within_its_bound_and_leaves_nothing(self, situation: str) -> None:
        before = set(timers())
        notes = Notes()
        r, connector = await SITUATIONS[situation]()
        r.on_disconnect(notes)
        r.on_connect(notes)
        began, dials = now(), len(connector.dials)
        events = r.events()
        await r.stop()
        assert now() - began <= STOP_BOUND
        assert (r.status, r.is_connected, connector.live) == (Status.DISCONNECTED, False, [])
        assert r.stats().next_attempt_in is None
        if "resists" not in situation:
            assert asyncio.all_tasks() == {asyncio.current_task()}
            assert set(timers()) <= before
        await asyncio.sleep(4000)
        assert len(connector.dials) == dials
        assert (connector.live, notes) == ([], [])
        assert [event.kind async for event in events] == [Kind.STOPPED]

    @pytest.mark.parametrize("situation", SITUATIONS)
    @virtual
    async def test_it_is_idempotent_and_safe_to_call_twice_at_once(self, situation: str) -> None:
        r, _ = await SITUATIONS[situation]()
        notes = Notes()
        r._bus.subscribers += (notes,)
        began = now()
        await asyncio.gather(r.stop(), r.stop(), r.stop())
        await r.stop()
        assert notes.kinds == [Kind.STOPPED]
        assert now() - began <= 2 * STOP_BOUND
        await asyncio.sleep(4000)

    @pytest.mark.parametrize("situation", SITUATIONS)
    @virtual
    async def test_it_can_be_started_again_at_once(self, situation: str) -> None:
        r, connector = await SITUATIONS[situation]()
        await r.stop()
        connector.then = Accept()
        connector._open = connector._abort = None
        connector._steps = dict.fromkeys(connector._steps)
        r._engine._credentials = None
        await r.start()
        await r.wait_connected(1)
        await asyncio.sleep(50)
        assert (r.is_connected, len(connector.live)) == (True, 1)
        await r.stop()
        assert connector.live == []

    @virtual
    async def test_a_backoff_sleep_ends_at_once(self) -> None:
        r, _ = await SITUATIONS["in a long backoff sleep"]()
        began = now()
        await r.stop()
        assert now() == began

    @pytest.mark.parametrize("command", ["reconnect", "network_changed", "pause"])
    @virtual
    async def test_a_sleep_that_was_cut_short_leaves_no_timer(self, command: str) -> None:
        before = set(timers())
        r, connector = await SITUATIONS["in a long backoff sleep"]()
        connector.then = Hang()
        forced = asyncio.create_task(r.reconnect()) if command == "reconnect" else getattr(r, command)()
        await settle()
        assert [timer for timer in set(timers()) - before if timer.when() > 200] == []
        await r.stop()
        assert set(timers()) == before
        assert forced is None or await forced is False

    @virtual
    async def test_a_timer_of_the_wheel_is_forgotten_with_its_connection(self) -> None:
        before = set(timers())
        async with supervise(ScriptedConnector(), health_check_interval=3600):
            assert set(timers()) > before
        assert set(timers()) == before


class TestGoodbye:
    @virtual
    async def test_a_live_connection_is_closed_politely_and_not_aborted(self) -> None:
        connector = Misbehaving()
        async with supervise(connector):
            pass
        assert (connector.closes, connector.aborts, connector.live) == (1, 0, [])

    @virtual
    async def test_a_goodbye_in_time_is_awaited(self) -> None:
        async def slow(connection: ScriptedConnection) -> None:
            await asyncio.sleep(0.15)
            connection.closed = True

        connector = Misbehaving(close=slow)
        async with supervise(connector):
            pass
        assert (now(), connector.aborts, connector.live) == (0.15, 0, [])

    @pytest.mark.parametrize("close", [forever, stubborn(5)])
    @virtual
    async def test_a_goodbye_that_takes_too_long_is_cut_short(self, close: Any) -> None:
        connector = Misbehaving(close=close)
        r = supervise(connector)
        await r.start()
        stopping = asyncio.create_task(r.stop())
        await asyncio.sleep(0.199)
        assert connector.aborts == 0
        await asyncio.sleep(0.002)
        assert (connector.aborts, connector.live) == (1, [])
        await stopping
        await asyncio.sleep(10)

    @virtual
    async def test_a_goodbye_that_raises_is_followed_by_an_abort(self) -> None:
        async def close(_: ScriptedConnection) -> None:
            raise ConnectionResetError(104, "too late")

        connector = Misbehaving(close=close)
        async with supervise(connector):
            pass
        assert (connector.aborts, connector.live) == (1, [])

    @virtual
    async def test_a_dead_connection_is_aborted_and_gets_no_goodbye(self) -> None:
        connector = Misbehaving([Accept(lasts=1)])
        async with supervise(connector):
            await asyncio.sleep(1.5)
            assert (connector.closes, connector.aborts) == (0, 1)

    @virtual
    async def test_a_second_stop_during_the_goodbye_returns_no_earlier_than_the_first(self) -> None:
        async def slow(connection: ScriptedConnection) -> None:
            await asyncio.sleep(0.15)
            connection.closed = True

        connector = Misbehaving(close=slow)
        r = supervise(connector)
        await r.start()
        first = asyncio.create_task(r.stop())
        await settle()
        await r.stop()
        assert (connector.live, now()) == ([], 0.15)
        await first

    @virtual
    async def test_a_driver_that_reports_the_loss_of_what_we_close_is_not_heard(self) -> None:
        notes = Notes()

        async def close(connection: ScriptedConnection) -> None:
            connection.lose()
            connection.closed = True

        connector = Misbehaving(close=close)
        r = supervise(connector, subscribers=[notes])
        r.on_disconnect(notes)
        async with r:
            pass
        await asyncio.sleep(10)
        assert notes.kinds == [Kind.STARTED, Kind.ATTEMPT_STARTED, Kind.CONNECTED, Kind.STOPPED]
        assert len(notes) == 4

    @virtual
    async def test_a_task_of_the_driver_that_does_not_end_is_named_in_the_log(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        connector = Misbehaving(open=stubborn(30))
        r = supervise(connector, logger=logging.getLogger("tether.test"))
        starting = asyncio.create_task(r.start())
        await asyncio.sleep(1)
        await r.stop()
        await starting
        assert "does not end" in caplog.text
        await asyncio.sleep(40)


class TestAroundStop:
    @virtual
    async def test_a_stop_with_nothing_running_does_not_cancel_the_next_start(self) -> None:
        connector = ScriptedConnector([Accept(after=1)])
        r = supervise(connector)
        await r.stop()
        await r.stop()
        await r.start()
        assert r.is_connected
        await r.stop()
        await r.stop()
        await r.start()
        await asyncio.sleep(100)
        assert r.is_connected
        await r.stop()

    @virtual
    async def test_a_start_during_the_goodbye_of_the_last_life_stays_up(self) -> None:
        async def slow(connection: ScriptedConnection) -> None:
            await asyncio.sleep(0.1)
            connection.closed = True

        connector = Misbehaving(close=slow)
        r = supervise(connector)
        await r.start()
        events = r.events()
        stopping = asyncio.create_task(r.stop())
        await settle()
        await r.start()
        assert r.is_connected
        await stopping
        await asyncio.sleep(50)
        assert (r.is_connected, [c.generation for c in connector.live]) == (True, [2])
        await r.stop()
        kinds = [event.kind async for event in events]
        assert kinds.count(Kind.STOPPED) == 2  # the reader was not sent away in between

    @virtual
    async def test_start_and_stop_in_the_same_moment_end_stopped(self) -> None:
        connector = ScriptedConnector()
        r = supervise(connector)
        await asyncio.gather(r.start(), r.stop())
        await asyncio.sleep(100)
        assert (r.status, connector.live) == (Status.DISCONNECTED, [])

    @virtual
    async def test_everybody_who_waits_is_let_go(self) -> None:
        connector = ScriptedConnector([REFUSED, Hang()])
        r = supervise(connector)
        await r.start()
        await asyncio.sleep(2)
        waiting = [
            asyncio.create_task(coro)
            for coro in (r.reconnect(), r.wait_connected(), r.run(lambda c: c, timeout=60))
        ]
        await settle()
        began = now()
        await r.stop()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert now() == began
        assert results[0] is False
        assert all(isinstance(result, NotConnected) for result in results[1:])

    @virtual
    async def test_calls_under_way_end_as_indeterminate(self) -> None:
        r = supervise(ScriptedConnector())
        await r.start()
        calling = asyncio.create_task(r.run(forever))
        await settle()
        await r.stop()
        with pytest.raises(IndeterminateError) as caught:
            await calling
        assert caught.value.cause is not None
        assert caught.value.cause.code == "closed"

    @virtual
    async def test_stop_inside_a_call_of_its_own_completes(self) -> None:
        async def slow(connection: ScriptedConnection) -> None:
            await asyncio.sleep(0.1)
            connection.closed = True

        connector = Misbehaving(close=slow)
        r = supervise(connector)
        await r.start()
        events = r.events()

        async def operation(_: ScriptedConnection) -> str:
            await r.stop()
            return "done"

        assert await r.run(operation) == "done"
        assert (r.status, connector.aborts, connector.live) == (Status.DISCONNECTED, 0, [])
        assert [event.kind async for event in events] == [Kind.STOPPED]
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(1)  # no cancellation is left over

    @virtual
    async def test_stop_inside_a_restorer_stops(self) -> None:
        async def restore(_: ScriptedConnection) -> None:
            await r.stop()

        connector = Misbehaving(restore=restore)
        r = supervise(connector)
        await r.start()
        await asyncio.sleep(100)
        assert (r.status, connector.dials, connector.live) == (Status.DISCONNECTED, [0.0], [])

    @virtual
    async def test_stop_in_the_very_moment_of_the_loss_dials_no_more(self) -> None:
        connector = ScriptedConnector()
        r = supervise(connector, retry_interval=fixed_interval(0))
        await r.start()
        connector.opened[0].lose()
        await r.stop()
        await asyncio.sleep(100)
        assert connector.dials == [0.0]

    @virtual
    async def test_stop_in_the_very_moment_in_which_the_dial_succeeds_drops_the_connection(self) -> None:
        for rounds in range(1, 9):
            connector = ScriptedConnector()
            r = supervise(connector)
            starting = asyncio.create_task(r.start())
            for _ in range(rounds):
                await asyncio.sleep(0)
            await r.stop()
            await starting
            await settle()
            assert (r.status, connector.live) == (Status.DISCONNECTED, []), rounds

    @virtual
    async def test_a_late_signal_of_the_driver_after_stop_changes_nothing(self) -> None:
        notes = Notes()
        connector = ScriptedConnector()
        r = supervise(connector, subscribers=[notes])
        await r.start()
        await r.stop()
        seen = len(notes)
        connector.opened[0].lose()
        await asyncio.sleep(100)
        assert (len(notes), r.status, connector.dials) == (seen, Status.DISCONNECTED, [0.0])

    @virtual
    async def test_an_error_of_the_last_life_does_not_tear_down_the_next(self) -> None:
        connector = ScriptedConnector()
        r = supervise(connector)
        await r.start()
        await r.stop()
        await r.start()
        connector.opened[0].lose()
        r.report(ConnectionResetError(104, "x"), 1)
        await settle()
        assert (r.is_connected, r.generation) == (True, 2)
        await r.stop()

    @virtual
    async def test_a_dial_of_the_last_life_that_resists_does_not_become_the_connection_of_the_next(
        self,
    ) -> None:
        async def dial(attempt: Attempt) -> ScriptedConnection:
            if attempt.generation == 1:
                try:
                    await forever()
                except asyncio.CancelledError:
                    await asyncio.sleep(2)
            return await connector.scripted_open(attempt)

        connector = Misbehaving(open=dial)
        r = supervise(connector)
        starting = asyncio.create_task(r.start())
        await asyncio.sleep(1)
        await r.stop()
        await starting
        await r.start()
        assert r.generation == 2
        await asyncio.sleep(10)
        assert ([c.generation for c in connector.live], r.client.generation) == ([2], 2)
        await r.stop()
