"""``pause()`` and ``resume()`` in every state."""

from __future__ import annotations

import asyncio

import pytest

from tests.runtime.support import REFUSED, Misbehaving, Notes, forever, now, settle, supervise, virtual
from tether import NotConnected, Status, UsageError
from tether.core.events import Kind
from tether.testing.scripted import Accept, Hang, ScriptedConnection, ScriptedConnector


@virtual
async def test_paused_while_connected_it_stays_connected_usable_and_unprobed() -> None:
    connector = ScriptedConnector()
    async with supervise(connector, health_check_interval=5) as r:
        r.pause()
        before = connector.probes
        await asyncio.sleep(100)
        r.report(TimeoutError())
        r.network_changed()
        await settle()
        assert (connector.probes, r.is_connected, r.status) == (before, True, Status.CONNECTED)
        assert await r.run(lambda c: c.generation) == 1


@virtual
async def test_resumed_while_connected_it_is_probed_at_once_and_then_at_the_interval() -> None:
    times: list[float] = []

    async def probe(_: ScriptedConnection) -> None:
        times.append(now())

    async with supervise(Misbehaving(probe=probe), health_check_interval=10) as r:
        await asyncio.sleep(1)
        r.pause()
        await asyncio.sleep(50)
        r.resume()
        await asyncio.sleep(25)
    assert times == [0.0, 51.0, 61.0, 71.0]


@virtual
async def test_paused_during_a_probe_the_probe_is_given_up_without_a_verdict() -> None:
    async def probe(_: ScriptedConnection) -> None:
        if connector.probes == 2:
            await forever()

    connector = Misbehaving(probe=probe)
    async with supervise(connector, health_check_interval=10, health_check_timeout=3) as r:
        await asyncio.sleep(6)
        r.pause()
        await asyncio.sleep(100)
        assert (r.stats().losses, r.stats().probes_failed, connector.probes) == (0, 0, 2)


@virtual
async def test_a_loss_while_paused_is_told_but_nothing_is_dialled_until_resume() -> None:
    notes = Notes()
    connector = ScriptedConnector([Accept(lasts=5)])
    r = supervise(connector)
    r.on_disconnect(lambda _: notes("on_disconnect", now()))
    async with r:
        r.pause()
        await asyncio.sleep(100)
        assert (notes, r.status, connector.dials) == ([("on_disconnect", 5.0)], Status.RECONNECTING, [0.0])
        assert (r.stats().paused, r.stats().next_attempt_in) == (True, None)
        r.resume()
        await r.wait_connected()
        assert (connector.dials, r.stats().paused) == ([0.0, 100.0], False)


@virtual
async def test_a_loss_while_paused_announces_no_attempt_that_will_not_be_made() -> None:
    notes = Notes()
    connector = ScriptedConnector([Accept(lasts=5)])
    async with supervise(connector, subscribers=[notes]) as r:
        r.pause()
        await asyncio.sleep(100)
        assert notes.kinds[-1] is Kind.LOST


@virtual
async def test_paused_during_the_sleep_it_does_not_dial_and_dials_at_once_when_resumed() -> None:
    connector = ScriptedConnector([REFUSED])
    async with supervise(connector) as r:
        await asyncio.sleep(0.5)
        r.pause()
        await asyncio.sleep(100)
        assert (connector.dials, r.stats().next_attempt_in) == ([0.0], None)
        r.network_changed()
        await settle()
        assert connector.dials == [0.0]
        r.resume()
        await settle()
        assert (connector.dials, r.is_connected) == ([0.0, 100.5], True)


@virtual
async def test_paused_during_a_dial_the_dial_is_given_up_and_counts_as_nothing() -> None:
    connector = ScriptedConnector([Hang()])
    r = supervise(connector, connect_timeout=5)
    starting = asyncio.create_task(r.start())
    await asyncio.sleep(1)
    r.pause()
    await starting  # the first attempt has ended, after all
    await asyncio.sleep(100)
    assert (connector.dials, r.retry_count, r.stats().failed_attempts) == ([0.0], 0, 0)
    r.resume()
    await settle()
    assert (connector.dials, r.is_connected) == ([0.0, 101.0], True)
    await r.stop()


@virtual
async def test_paused_during_a_forced_dial_the_caller_is_told_no() -> None:
    connector = ScriptedConnector([REFUSED, Hang()])
    async with supervise(connector) as r:
        forcing = asyncio.create_task(r.reconnect())
        await settle()
        r.pause()
        assert await forcing is False


@virtual
async def test_paused_when_given_up_it_stays_given_up_and_no_call_revives_it() -> None:
    connector = ScriptedConnector(then=REFUSED)
    connector.client = object()
    async with supervise(connector, max_retries=0) as r:
        r.pause()
        r.network_changed()
        with pytest.raises(NotConnected, match="db is paused"):
            await r.run(lambda c: c)
        await asyncio.sleep(10)
        r.resume()
        await asyncio.sleep(10)
        assert (r.status, connector.dials) == (Status.FAILED, [0.0])
        connector.then = Accept()
        assert await r.reconnect() is True


@virtual
async def test_calls_while_paused_and_down_wait_or_are_told_that_it_is_paused() -> None:
    connector = ScriptedConnector([REFUSED])
    async with supervise(connector) as r:
        r.pause()
        with pytest.raises(NotConnected, match=r"^db is paused \(refused: connection refused\)$"):
            await r.run(lambda c: c)
        with pytest.raises(TimeoutError):
            await r.run(lambda c: c, timeout=3)
        waiting = asyncio.create_task(r.run(lambda c: c.generation, timeout=30))
        await asyncio.sleep(1)
        r.resume()
        assert await waiting == 2


@virtual
async def test_pausing_and_resuming_twice_is_told_once() -> None:
    notes = Notes()
    async with supervise(ScriptedConnector(), subscribers=[notes]) as r:
        notes.clear()
        r.resume()
        r.pause()
        r.pause()
        r.resume()
        r.resume()
        assert notes.kinds == [Kind.PAUSED, Kind.RESUMED]


@virtual
async def test_a_new_life_begins_unpaused() -> None:
    connector = ScriptedConnector()
    r = supervise(connector)
    await r.start()
    r.pause()
    await r.stop()
    await r.start()
    assert (r.is_connected, r.stats().paused) == (True, False)
    with pytest.raises(UsageError):
        await r.start()
    await r.stop()
