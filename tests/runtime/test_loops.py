"""Several event loops, one after the other: with ``stop()`` in between and without."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from tests.runtime.support import Misbehaving, Notes, forever, now, settle, supervise, virtual
from tether import Reconnector, Status, UsageError
from tether.backoff import fixed_interval
from tether.core.events import Kind
from tether.testing.clock import run_virtual
from tether.testing.scripted import Accept, Hang, Outcome, ScriptedConnection, ScriptedConnector

Runner = Callable[[Coroutine[Any, Any, Any]], Any]


def run_uvloop(main: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


RUNNERS = pytest.mark.parametrize("run", [run_virtual, asyncio.run, run_uvloop])


@RUNNERS
def test_two_runs_in_a_row_with_stop(run: Runner) -> None:
    connector = ScriptedConnector()
    r = supervise(connector)

    async def main() -> None:
        async with r:
            assert r.is_connected
            assert await r.run(lambda c: c.generation) == r.generation

    run(main())
    assert r.status is Status.DISCONNECTED
    run(main())
    assert (len(connector.dials), connector.live) == (2, [])


@RUNNERS
def test_two_runs_in_a_row_without_stop(run: Runner) -> None:
    connector = ScriptedConnector()
    r = supervise(connector)

    async def main() -> None:
        await r.start()
        assert r.is_connected
        assert await r.run(lambda c: c.generation) == r.generation
        assert len(connector.live) == 1

    run(main())
    run(main())
    run(main())
    assert [c.generation for c in connector.live] == [3]


def test_a_life_on_real_loops_is_the_same() -> None:
    async def main() -> list[Kind]:
        notes = Notes()
        connector = ScriptedConnector([ConnectionRefusedError(111, "x")])
        r = supervise(connector, retry_interval=fixed_interval(0), subscribers=[notes])
        async with r:
            await r.wait_connected(5)
            connector.opened[-1].lose()
            await r.wait_connected(5)
            assert await r.reconnect()
        return notes.kinds

    stories = [run(main()) for run in (run_virtual, asyncio.run, run_uvloop)]
    assert stories[0] == stories[1] == stories[2]
    assert stories[0][-1] is Kind.STOPPED


@pytest.mark.parametrize(
    "fault", ["dialing", "waiting", "probing", "degraded", "calling", "waiter", "reader"]
)
def test_a_loop_that_ended_without_stop_in_any_state_leaves_nothing_that_hurts_the_next(
    fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="asyncio")

    async def probe(connection: ScriptedConnection) -> None:
        if fault == "probing" and connector.probes > 1:
            await forever()

    async def restore(_: ScriptedConnection) -> list[str]:
        return ["a"] if fault == "degraded" else []

    outcomes: dict[str, Outcome] = {"dialing": Hang(), "waiting": ConnectionRefusedError(111, "x")}
    outcome = outcomes.get(fault, Accept())
    connector = Misbehaving([outcome, outcome], probe=probe, restore=restore)
    called = Notes()

    async def slow(*_: Any) -> None:
        called("called")
        await asyncio.sleep(5)
        called("ended")

    r = supervise(connector)
    for hook in (r.on_connect, r.on_disconnect, r.on_reconnect, r.on_reconnect_failed):
        hook(slow)

    async def first() -> None:
        starting = asyncio.create_task(r.start())
        await asyncio.sleep(6.5)
        if fault == "calling":
            asyncio.create_task(r.run(forever))  # noqa: RUF006
        elif fault == "waiter":
            asyncio.create_task(r.reconnect())  # noqa: RUF006
        elif fault == "reader":
            asyncio.create_task(_read(r))  # noqa: RUF006
        await settle()
        del starting

    async def second() -> None:
        connector.then = Accept()
        connector._script = iter([])
        await r.start()
        await r.wait_connected(5)
        live = [c for c in connector.live if c.generation == r.generation]
        assert len(live) == len(connector.live) == 1
        await asyncio.sleep(30)
        assert r.is_connected
        await r.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(first())
    dials = len(connector.dials)
    gc.collect()
    assert len(connector.dials) == dials
    fault = ""  # only the first loop was unlucky
    run_virtual(second())
    gc.collect()
    assert [record for record in caplog.records if record.name == "asyncio"] == []
    assert connector.live == []


async def _read(r: Reconnector[Any]) -> None:
    async for _ in r.events():
        pass


def test_after_a_loop_that_ended_without_stop_it_can_still_be_stopped() -> None:
    connector = ScriptedConnector()
    r = supervise(connector)
    run_virtual(r.start())
    run_virtual(r.stop())
    assert (r.status, r.is_connected, connector.live) == (Status.DISCONNECTED, False, [])


def test_after_a_loop_that_ended_without_stop_commands_are_refused() -> None:
    connector = ScriptedConnector()
    r = supervise(connector)
    run_virtual(r.start())

    async def main() -> None:
        for call in (r.reconnect, r.wait_connected):
            with pytest.raises(UsageError, match="belongs to the event loop that started it"):
                await call()
        with pytest.raises(UsageError, match="belongs to the event loop that started it"):
            await r.run(lambda c: c)
        with pytest.raises(UsageError, match="belongs to the event loop that started it"):
            async with r.guard():
                pass
        await r.start()
        assert await r.run(lambda c: c.generation) == 2
        await r.stop()

    run_virtual(main())


def test_a_stream_made_between_two_runs_belongs_to_the_second() -> None:
    r = supervise(ScriptedConnector())
    run_virtual(r.start())
    old = r.events()

    async def main() -> None:
        await r.start()
        await r.stop()
        assert [event.kind async for event in old][-1:] in ([], [Kind.STOPPED])

    run_virtual(main())


def test_a_reader_of_a_loop_that_was_closed_under_it_does_not_break_the_next_start(
    recwarn: pytest.WarningsRecorder,
) -> None:
    r = supervise(ScriptedConnector())
    loop = asyncio.new_event_loop()
    loop.run_until_complete(r.start())
    reading = loop.create_task(_read(r))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()  # without cancelling anybody

    async def main() -> None:
        await r.start()
        assert r.is_connected
        await r.stop()

    try:
        run_virtual(main())
    finally:
        reading._log_destroy_pending = False  # type: ignore[attr-defined]


def test_an_abort_that_raises_because_its_loop_is_closed_does_not_break_the_next_start() -> None:
    def abort(connection: ScriptedConnection) -> None:
        if connection.generation == 1:
            raise RuntimeError("Event loop is closed")

    r = supervise(Misbehaving(abort=abort))
    run_virtual(r.start())

    async def main() -> None:
        await r.start()
        assert (r.is_connected, r.generation) == (True, 2)
        await r.stop()

    run_virtual(main())


def test_a_late_loss_of_the_old_loops_connection_is_ignored_by_the_next() -> None:
    connector = ScriptedConnector()
    r = supervise(connector)
    run_virtual(r.start())

    async def main() -> None:
        await r.start()
        connector.opened[0].lose()
        await settle()
        assert (r.is_connected, r.stats().losses, r.generation) == (True, 0, 2)
        await r.stop()

    run_virtual(main())


def test_starting_again_in_a_second_loop_while_the_first_is_alive_is_misuse() -> None:
    r = supervise(ScriptedConnector())
    first = asyncio.new_event_loop()
    try:
        first.run_until_complete(r.start())
        second = asyncio.new_event_loop()
        try:
            with pytest.raises(UsageError, match="started already"):
                second.run_until_complete(r.start())
        finally:
            second.close()
        first.run_until_complete(r.stop())
    finally:
        first.close()


@RUNNERS
def test_loops_that_are_gone_are_not_kept(run: Runner) -> None:
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def main(*, stop: bool) -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        r = supervise(ScriptedConnector())
        await r.start()
        await settle()
        if stop:
            await r.stop()

    for number in range(6):
        run(main(stop=number % 2 == 0))
    gc.collect()
    assert [loop() for loop in loops] == [None] * 6


@virtual
async def test_time_is_the_loops_own() -> None:
    async with supervise(ScriptedConnector()) as r:
        await asyncio.sleep(3)
        assert (r.stats().uptime, now()) == (3.0, 3.0)
