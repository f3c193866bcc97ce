"""What is told: events in order, streams that are bounded, subscribers that may fail, and figures."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.runtime.support import (
    REFUSED,
    Misbehaving,
    Notes,
    cancelled,
    forever,
    settle,
    stall,
    supervise,
    virtual,
)
from tether import ReconnectEvent, Status
from tether.core.cause import Code
from tether.core.events import Kind
from tether.runtime.bus import STREAM_LIMIT, EventStream
from tether.runtime.stats import Stats
from tether.testing.scripted import Accept, Hang, ScriptedConnection, ScriptedConnector


async def read(stream: EventStream) -> list[Kind]:
    return [event.kind async for event in stream]


class TestEvents:
    @virtual
    async def test_an_outage_is_told_in_order_with_its_figures(self) -> None:
        connector = ScriptedConnector([Accept(lasts=2), REFUSED], then=Accept(after=0.5))
        notes = Notes()
        async with supervise(connector, subscribers=[notes]):
            await asyncio.sleep(10)
        figures = [
            (e.kind.value, e.status.value, e.generation, e.retry_count, e.delay, e.elapsed) for e in notes
        ]
        assert figures == [
            ("started", "connecting", 0, 0, None, None),
            ("attempt_started", "connecting", 1, 0, None, None),
            ("connected", "connected", 1, 0, None, 0.0),
            ("lost", "reconnecting", 1, 0, None, 2.0),
            ("retry_scheduled", "reconnecting", 1, 0, 1.0, 0.0),
            ("attempt_started", "reconnecting", 2, 0, None, None),
            ("attempt_failed", "reconnecting", 2, 1, None, None),
            ("retry_scheduled", "reconnecting", 2, 1, 1.0, 1.0),
            ("attempt_started", "reconnecting", 3, 1, None, None),
            ("reconnected", "connected", 3, 0, None, 2.5),
            ("stopped", "disconnected", 3, 0, None, None),
        ]

    @virtual
    async def test_every_event_names_the_connection_the_place_and_an_aware_time(self) -> None:
        notes = Notes()
        connector = ScriptedConnector([REFUSED])
        connector.endpoint = "cache:6379"
        before = datetime.now(UTC)
        async with supervise(connector, name="cache", subscribers=[notes]) as r:
            await r.wait_connected()
        for event in notes:
            assert (event.connection, event.endpoint) == ("cache", "cache:6379")
            assert before <= event.timestamp <= datetime.now(UTC)
        with pytest.raises(dataclasses.FrozenInstanceError):
            notes[0].kind = Kind.LOST

    @virtual
    async def test_losses_and_failures_carry_their_cause_and_error_and_a_redacted_message(self) -> None:
        notes = Notes()
        error = ConnectionRefusedError(111, "redis://joe:swordfish@host refused")
        connector = ScriptedConnector([error])
        async with supervise(connector, subscribers=[notes]) as r:
            await r.wait_connected()
        (event,) = notes.of(Kind.ATTEMPT_FAILED)
        assert event.error is error
        assert event.cause is not None
        assert event.cause.code is Code.REFUSED
        assert event.message == "ConnectionRefusedError: [Errno 111] redis://joe:***@host refused"
        assert "swordfish" not in repr(event)
        assert "swordfish" not in str(event.as_dict())

    @virtual
    async def test_a_subscriber_that_fails_is_logged_and_stops_neither_the_others_nor_the_healing(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        def failing(_: ReconnectEvent) -> None:
            raise ValueError("broken subscriber")

        notes = Notes()
        async with supervise(ScriptedConnector([Accept(lasts=1)]), subscribers=[failing, notes]) as r:
            await asyncio.sleep(10)
            assert (r.is_connected, r.generation) == (True, 2)
        assert notes.kinds.count(Kind.RECONNECTED) == 1
        assert "broken subscriber" in caplog.text


class TestStreams:
    @virtual
    async def test_a_stream_gives_the_events_since_it_was_made_and_ends_with_stop(self) -> None:
        r = supervise(ScriptedConnector([Accept(lasts=1)]))
        early = r.events()  # needs no running connection
        await r.start()
        late = r.events()
        reading = asyncio.create_task(read(late))
        await asyncio.sleep(10)
        await r.stop()
        rest = [Kind.LOST, Kind.RETRY_SCHEDULED, Kind.ATTEMPT_STARTED, Kind.RECONNECTED, Kind.STOPPED]
        assert await reading == rest
        assert await read(early) == [Kind.STARTED, Kind.ATTEMPT_STARTED, Kind.CONNECTED, *rest]
        assert await read(early) == []
        assert r._bus.streams == []

    @virtual
    async def test_two_readers_get_all_events_each(self) -> None:
        r = supervise(ScriptedConnector())
        readings = [asyncio.create_task(read(r.events())) for _ in range(2)]
        await settle()
        await r.start()
        await r.stop()
        assert (
            await asyncio.gather(*readings)
            == [[Kind.STARTED, Kind.ATTEMPT_STARTED, Kind.CONNECTED, Kind.STOPPED]] * 2
        )

    @virtual
    async def test_two_tasks_may_share_one_stream_and_both_end(self) -> None:
        r = supervise(ScriptedConnector())
        stream = r.events()
        readings = [asyncio.create_task(read(stream)) for _ in range(2)]
        await settle()
        await r.start()
        await asyncio.sleep(1)
        await r.stop()
        async with asyncio.timeout(5):
            parts = await asyncio.gather(*readings)
        assert sorted(kind for part in parts for kind in part) == sorted(
            [Kind.STARTED, Kind.ATTEMPT_STARTED, Kind.CONNECTED, Kind.STOPPED]
        )

    @virtual
    async def test_a_reader_gets_an_event_while_the_connection_lives(self) -> None:
        connector = ScriptedConnector()
        async with supervise(connector) as r:
            stream = r.events()
            waiting = asyncio.create_task(anext(stream))
            await asyncio.sleep(5)
            assert not waiting.done()
            connector.opened[0].lose()
            assert (await waiting).kind is Kind.LOST

    @virtual
    async def test_a_reader_that_sleeps_misses_the_oldest_and_is_told_how_many(self) -> None:
        connector = ScriptedConnector([REFUSED] * 600)
        r = supervise(connector)
        stream = r.events()
        await r.start()
        await r.wait_connected()
        await r.stop()
        # started, 601 attempts, 600 failures, 600 delays, connected, stopped
        assert stream.dropped == 1 + 601 + 600 + 600 + 1 + 1 - STREAM_LIMIT
        kinds = await read(stream)
        assert (len(kinds), kinds[-1], Kind.STARTED in kinds) == (STREAM_LIMIT, Kind.STOPPED, False)

    @virtual
    async def test_a_slow_reader_does_not_make_another_miss_anything(self) -> None:
        connector = ScriptedConnector([REFUSED] * 600)
        r = supervise(connector)
        slow, fast = r.events(), r.events()
        reading = asyncio.create_task(read(fast))
        await r.start()
        await r.wait_connected()
        await r.stop()
        assert (len(await reading), fast.dropped) == (1804, 0)
        await slow.aclose()

    @virtual
    async def test_a_closed_stream_ends_its_reader_and_hears_no_more(self) -> None:
        connector = ScriptedConnector()
        async with supervise(connector) as r:
            stream = r.events()
            reading = asyncio.create_task(read(stream))
            await settle()
            await stream.aclose()
            await stream.aclose()
            assert await reading == []
            connector.opened[0].lose()
            assert await read(stream) == []
            assert r._bus.streams == []

    @virtual
    async def test_a_cancelled_reader_loses_nothing(self) -> None:
        connector = ScriptedConnector()
        async with supervise(connector) as r:
            stream = r.events()
            waiting = asyncio.create_task(anext(stream))
            await settle()
            assert await cancelled(waiting)
            connector.opened[0].lose()
            assert (await anext(stream)).kind is Kind.LOST

    @virtual
    async def test_a_reader_may_time_out_and_come_back(self) -> None:
        connector = ScriptedConnector([Accept(lasts=5)])
        async with supervise(connector) as r:
            stream = r.events()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await anext(stream)
            assert (await anext(stream)).kind is Kind.LOST

    @virtual
    async def test_a_reader_that_times_out_again_and_again_leaves_nothing_behind(self) -> None:
        async with supervise(ScriptedConnector()) as r:
            stream = r.events()
            for _ in range(100):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(1):
                        await anext(stream)
            assert len(stream._waiters) <= 1

    @virtual
    async def test_an_abandoned_stream_stays_bounded(self) -> None:
        connector = ScriptedConnector([REFUSED] * 3000)
        async with supervise(connector) as r:
            stream = r.events()
            await r.wait_connected()
            assert len(stream._queue) == STREAM_LIMIT


class TestStats:
    @virtual
    async def test_everything_is_counted(self) -> None:
        async def probe(connection: ScriptedConnection) -> None:
            if connector.probes == 3:
                raise TimeoutError
            await connector.scripted_probe(connection)

        def broken(_: Any) -> None:
            raise ValueError

        connector = Misbehaving([REFUSED, Accept(), REFUSED, REFUSED, Accept(lasts=30)], probe=probe)
        async with supervise(connector, health_check_interval=10, failure_threshold=1) as r:
            r.on_disconnect(broken)
            await asyncio.sleep(15)
            # connected at 1; probes at 6 and 16
            stats = r.stats()
            assert (stats.status, stats.uptime, stats.retry_count) == (Status.CONNECTED, 14.0, 0)
            await asyncio.sleep(3.5)
            # lost at 16; dials at 17 and 18 fail
            stats = r.stats()
            assert (stats.status, stats.retry_count, stats.next_attempt_in) == (Status.RECONNECTING, 2, 0.5)
            assert stats.down_for == 2.5
            assert stats.uptime == 15.0
            await asyncio.sleep(10.5)
            # connected at 19
            stats = r.stats()
            assert stats.last_connected is not None
            assert stats == Stats(
                type="scripted",
                endpoint=stats.endpoint,
                status=Status.CONNECTED,
                paused=False,
                degraded=False,
                flapping=False,
                generation=5,
                retry_count=0,
                cause=None,
                last_error="ConnectionRefusedError",
                attempts=5,
                connects=2,
                losses=1,
                failed_attempts=3,
                probes_failed=1,
                stalls=0,
                callbacks_failed=1,
                dropped=0,
                uptime=25.0,
                session_uptime=10.0,
                down_for=None,
                last_connected=stats.last_connected,
                last_reconnect=stats.last_connected,
                last_reconnect_latency=3.0,
                reconnect_attempts=4,
                reconnects=2,
                reconnect_failures={Code.REFUSED: 2},
                latencies=(0,) * 6 + (1,) + (0,) * 7,
                latency_sum=3.0,
                next_attempt_in=None,
            )
            await asyncio.sleep(30)
            assert (r.stats().losses, r.stats().uptime) == (2, 15.0 + 30.0 + 9.0)
        assert r.stats().uptime == 54.0
        await asyncio.sleep(100)
        assert r.stats().uptime == 54.0

    def test_before_start_all_is_nothing(self) -> None:
        stats = supervise(ScriptedConnector()).stats()
        assert (stats.status, stats.attempts, stats.uptime, stats.next_attempt_in) == (
            Status.DISCONNECTED,
            0,
            0.0,
            None,
        )

    @virtual
    async def test_a_forced_reconnect_loses_no_uptime(self) -> None:
        async with supervise(ScriptedConnector([Accept(), Accept(after=3)])) as r:
            await asyncio.sleep(20)
            await r.reconnect()
            await asyncio.sleep(7)
            assert r.stats().uptime == 27.0

    @virtual
    async def test_the_next_attempt_counts_down(self) -> None:
        async with supervise(ScriptedConnector([REFUSED, Hang()]), retry_interval=lambda n: 30.0) as r:
            assert r.stats().next_attempt_in == 30.0
            await asyncio.sleep(12)
            assert r.stats().next_attempt_in == 18.0
            stall(100)
            assert r.stats().next_attempt_in == 0.0
            await settle()
            assert r.stats().next_attempt_in is None  # it is under way

    @virtual
    async def test_the_cause_is_there_while_down_and_gone_once_connected(self) -> None:
        async with supervise(ScriptedConnector([REFUSED])) as r:
            cause = r.stats().cause
            assert cause is not None
            assert cause.code is Code.REFUSED
            await r.wait_connected()
            assert r.stats().cause is None

    @virtual
    async def test_it_holds_no_task_while_it_waits(self) -> None:
        async with supervise(ScriptedConnector([REFUSED]), retry_interval=lambda n: 60.0):
            assert asyncio.all_tasks() == {asyncio.current_task()}


@virtual
async def test_a_reader_inside_a_task_group_can_be_cancelled_while_it_waits() -> None:
    async with supervise(ScriptedConnector()) as r:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3), asyncio.TaskGroup() as group:
                group.create_task(read(r.events()))
                group.create_task(forever())
        assert r.is_connected
