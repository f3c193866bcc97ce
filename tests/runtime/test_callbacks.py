"""Users' callbacks: whatever they do, reconnection and the other callbacks go on."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tests.runtime.support import (
    REFUSED,
    STOP_BOUND,
    Notes,
    Reported,
    cancelled,
    forever,
    now,
    settle,
    stubborn,
    supervise,
    timers,
    virtual,
)
from tether import ConfigError, Reconnector, Status
from tether.core.events import Kind
from tether.runtime import callbacks
from tether.runtime.callbacks import Mailbox, finish
from tether.testing.clock import run_virtual
from tether.testing.scripted import Accept, ScriptedConnector


async def start_worker(box: Mailbox) -> None:
    """Have a mailbox take a first call, so that all that follows waits."""
    box.post("first")
    await settle()


def _raises(*_: Any) -> None:
    raise ValueError("boom")


async def _raises_later(*_: Any) -> None:
    await asyncio.sleep(0.1)
    raise ValueError("boom")


class TestMisbehaving:
    @pytest.mark.parametrize("callback", [_raises, _raises_later, forever, stubborn(100)])
    @virtual
    async def test_whatever_a_callback_does_it_reconnects_on_time(self, callback: Any) -> None:
        notes = Notes()
        connector = ScriptedConnector([Accept(lasts=1), REFUSED, Accept(lasts=1)])
        r = supervise(connector)
        for hook in (r.on_connect, r.on_disconnect, r.on_reconnect, r.on_reconnect_failed, r.on_give_up):
            hook(callback)
        r.on_disconnect(lambda _: notes("on_disconnect", now()))
        r.on_reconnect(lambda: notes("on_reconnect", now()))
        async with r:
            await asyncio.sleep(20)
            assert connector.dials == [0.0, 2.0, 3.0, 5.0]
            assert notes == [
                ("on_disconnect", 1.0),
                ("on_reconnect", 3.0),
                ("on_disconnect", 4.0),
                ("on_reconnect", 5.0),
            ]
        await asyncio.sleep(200)

    @virtual
    async def test_one_that_raises_is_called_again_next_time(self) -> None:
        calls: list[float] = []

        def callback(_: Any) -> None:
            calls.append(now())
            raise ValueError

        async with supervise(ScriptedConnector([Accept(lasts=1)] * 3)) as r:
            r.on_disconnect(callback)
            await asyncio.sleep(20)
        assert calls == [1.0, 3.0, 5.0]

    @virtual
    async def test_failures_are_counted_evented_and_logged_with_their_name(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        notes = Notes()

        async def my_callback(_: BaseException) -> None:
            raise ValueError("boom")

        async with supervise(ScriptedConnector([Accept(lasts=1)] * 2), subscribers=[notes], logger=None) as r:
            r.on_disconnect(my_callback)
            await asyncio.sleep(10)
            assert r.stats().callbacks_failed == 2
        first, _ = notes.of(Kind.CALLBACK_FAILED)
        assert first.detail["callback"].startswith("on_disconnect(")
        assert first.detail["callback"].endswith("my_callback)")
        assert first.detail["error"] == "ValueError: boom"
        (record, _) = [record for record in caplog.records if "my_callback" in record.getMessage()]
        assert record.levelno == logging.ERROR
        assert "raised" in record.getMessage()
        assert "in my_callback" in record.getMessage()  # the traceback

    @virtual
    async def test_what_is_logged_of_a_failure_holds_no_secret(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        connector = ScriptedConnector([Accept(lasts=1)])
        connector.secrets = ("hunter2",)
        notes = Notes()

        def callback(_: Any) -> None:
            raise ValueError("cannot tell hunter2 to redis://joe:swordfish@host/ ?token=abc123")

        async with supervise(connector, subscribers=[notes], logger=None) as r:
            r.on_disconnect(callback)
            await asyncio.sleep(10)
        shown = caplog.text + repr(notes.of(Kind.CALLBACK_FAILED)[0].as_dict())
        assert "cannot tell ***" in shown
        for secret in ("hunter2", "swordfish", "abc123"):
            assert secret not in shown  # nor in the line of source that the traceback quotes

    @virtual
    async def test_one_that_hangs_is_ended_after_its_timeout_and_counted(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        calls: list[float] = []

        async def callback(_: Any) -> None:
            calls.append(now())
            await forever()

        connector = ScriptedConnector([Accept(lasts=1)] * 2)
        async with supervise(connector, callback_timeout=5, logger=None) as r:
            r.on_disconnect(callback)
            await asyncio.sleep(5.9)
            assert (calls, r.stats().callbacks_failed) == ([1.0], 0)
            await asyncio.sleep(0.2)
            assert (calls, r.stats().callbacks_failed) == ([1.0, 6.0], 1)  # the second loss had waited
            await asyncio.sleep(10)
            assert r.stats().callbacks_failed == 2
        assert "took more than 5s" in caplog.text

    @virtual
    async def test_a_timeout_error_of_its_own_is_not_mistaken_for_ours(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def callback() -> None:
            raise TimeoutError("mine")

        r = supervise(ScriptedConnector(), logger=None)
        r.on_connect(callback)
        async with r:
            await settle()
        assert "raised" in caplog.text
        assert "took more than" not in caplog.text

    @virtual
    async def test_one_that_ends_by_a_cancellation_of_its_own_is_counted_and_called_again(self) -> None:
        calls: list[float] = []

        async def callback(_: Any) -> None:
            calls.append(now())
            helper = asyncio.get_running_loop().create_future()
            helper.cancel()
            await helper

        async with supervise(ScriptedConnector([Accept(lasts=1)] * 3)) as r:
            r.on_disconnect(callback)
            await asyncio.sleep(20)
            assert calls == [1.0, 3.0, 5.0]
            assert r.stats().callbacks_failed == 3

    @virtual
    async def test_the_calls_behind_one_that_ends_by_a_cancellation_are_delivered(self) -> None:
        got: list[int] = []

        async def callback(number: int) -> None:
            got.append(number)
            await asyncio.sleep(1)
            if number == 0:
                raise asyncio.CancelledError

        box = Mailbox(callback, "name", Reported(), timeout=None)
        for number in range(3):
            box.post(number)
        await asyncio.sleep(10)
        assert got == [0, 1, 2]

    @virtual
    async def test_a_slow_one_gets_its_calls_one_at_a_time_and_in_order(self) -> None:
        notes = Notes()

        async def callback(_: Any, count: int) -> None:
            notes("begin", count)
            await asyncio.sleep(2.5)
            notes("end", count)

        r = supervise(ScriptedConnector([REFUSED] * 4))
        r.on_reconnect_failed(callback)
        async with r:
            await asyncio.sleep(20)
        assert notes == [(what, count) for count in (1, 2, 3, 4) for what in ("begin", "end")]

    @virtual
    async def test_each_has_a_queue_of_its_own(self) -> None:
        fast = Notes()
        r = supervise(ScriptedConnector([REFUSED] * 3))
        r.on_reconnect_failed(forever)
        r.on_reconnect_failed(lambda error, count: fast(count))
        async with r:
            await asyncio.sleep(20)
            assert fast == [1, 2, 3]

    @virtual
    async def test_a_flood_of_calls_is_bounded_and_what_is_dropped_is_told(self) -> None:
        notes = Notes()
        connector = ScriptedConnector([REFUSED] * 150)
        r = supervise(connector, callback_timeout=1000, subscribers=[notes])
        r.on_reconnect_failed(forever)
        async with r:
            await asyncio.sleep(200)
            assert r.is_connected
            assert r.stats().dropped == 150 - 1 - callbacks.QUEUE_LIMIT
            told = [event.detail["dropped"] for event in notes.of(Kind.DROPPED)]
            assert (told[0], sum(told)) == (1, r.stats().dropped)
            assert notes.of(Kind.DROPPED)[0].detail["callback"].startswith("on_reconnect_failed(")

    @virtual
    async def test_a_flood_does_not_push_everything_else_out(self) -> None:
        notes = Notes()
        r = supervise(ScriptedConnector(), subscribers=[notes])
        r.on_disconnect(forever)
        async with r:
            for box in r._hooks.mailboxes():
                for _ in range(5000):
                    box.post(None)
            dropped = 5000 - callbacks.QUEUE_LIMIT
            assert r.stats().dropped == dropped  # counted, although
            assert [event.detail["dropped"] for event in notes.of(Kind.DROPPED)] == [1]  # it was not told yet
            await asyncio.sleep(1)
            assert [event.detail["dropped"] for event in notes.of(Kind.DROPPED)] == [1, dropped - 1]

    @virtual
    async def test_callbacks_are_never_called_inside_the_step_that_told_the_event(self) -> None:
        seen: list[Any] = []
        connector = ScriptedConnector()
        async with supervise(connector) as r:
            r.on_disconnect(lambda _: seen.append("called"))
            connector.opened[0].lose()
            assert (seen, r.status) == ([], Status.RECONNECTING)
            await settle()
            assert seen == ["called"]


class TestRegistration:
    @virtual
    async def test_each_hook_returns_the_callback_so_that_it_can_be_a_decorator(self) -> None:
        r = supervise(ScriptedConnector())

        @r.on_connect
        def first() -> None: ...

        @r.on_disconnect
        async def second(error: BaseException) -> None: ...

        assert first.__name__ == "first"
        assert second.__name__ == "second"
        assert r.on_reconnect(first) is first
        for hook in (r.on_reconnect_failed, r.on_give_up):
            assert hook(print) is print

    def test_one_that_cannot_take_the_arguments_is_refused_by_name(self) -> None:
        r = supervise(ScriptedConnector())
        with pytest.raises(ConfigError, match=r"^on_disconnect: it is called as callback\(error\)"):
            r.on_disconnect(lambda: None)
        with pytest.raises(ConfigError, match=r"^on_connect: it is called as callback\(\)"):
            r.on_connect(lambda error: None)

    def test_what_cannot_be_called_is_refused_by_name(self) -> None:
        r = supervise(ScriptedConnector())
        with pytest.raises(ConfigError, match=r"^on_disconnect: 'x' cannot be called"):
            r.on_disconnect("x")  # type: ignore[type-var]

    @virtual
    async def test_several_per_hook_are_called_in_the_order_of_registration(self) -> None:
        got = Notes()
        r = supervise(ScriptedConnector())
        for number in range(3):
            r.on_connect(lambda number=number: got(number))
        async with r:
            await settle()
        assert got == [0, 1, 2]

    @virtual
    async def test_one_that_is_registered_while_running_hears_the_next_event(self) -> None:
        got = Notes()
        connector = ScriptedConnector([Accept(lasts=5)])
        async with supervise(connector) as r:
            await asyncio.sleep(1)
            r.on_connect(lambda: got("late"))
            r.on_disconnect(lambda _: got("in time"))
            await asyncio.sleep(10)
        assert got == ["in time"]

    @virtual
    async def test_any_awaitable_that_it_returns_is_awaited(self) -> None:
        future = asyncio.get_running_loop().create_future()
        r = supervise(ScriptedConnector(), callback_timeout=5)
        r.on_connect(lambda: future)
        async with r:
            await asyncio.sleep(6)
            assert r.stats().callbacks_failed == 1
            assert future.cancelled()

    @virtual
    async def test_an_object_without_a_name_can_be_one(self) -> None:
        class Callback:
            def __call__(self) -> None:
                raise ValueError

        notes = Notes()
        r = supervise(ScriptedConnector(), subscribers=[notes])
        r.on_connect(Callback())
        async with r:
            await settle()
        assert "Callback" in notes.of(Kind.CALLBACK_FAILED)[0].detail["callback"]

    @virtual
    async def test_a_worker_exists_only_while_there_is_something_to_deliver(self) -> None:
        connector = ScriptedConnector()
        r = supervise(connector, health_check=False)
        for hook in (r.on_connect, r.on_disconnect, r.on_reconnect):
            hook(lambda *_: None)
        async with r:
            await settle()
            assert asyncio.all_tasks() == {asyncio.current_task()}


class TestCommandsInside:
    @virtual
    async def test_stop_inside_on_disconnect_stops_and_the_callback_finishes(self) -> None:
        notes = Notes()
        connector = ScriptedConnector([Accept(lasts=1)])
        r = supervise(connector)

        @r.on_disconnect
        async def callback(_: BaseException) -> None:
            await r.stop()
            notes("stopped", now())
            await asyncio.sleep(5)
            notes("finished", now())

        await r.start()
        await asyncio.sleep(60)
        assert notes == [("stopped", 1.0), ("finished", 6.0)]
        assert (r.status, connector.dials) == (Status.DISCONNECTED, [0.0])

    @pytest.mark.parametrize("hook", ["on_connect", "on_reconnect", "on_reconnect_failed", "on_give_up"])
    @virtual
    async def test_stop_inside_any_callback_stops_at_once(self, hook: str) -> None:
        notes = Notes()
        connector = ScriptedConnector([Accept(lasts=1), REFUSED, Accept(lasts=1)], then=REFUSED)
        r = supervise(connector, max_retries=2)

        async def callback(*_: Any) -> None:
            began = now()
            await r.stop()
            notes(now() - began)

        getattr(r, hook)(callback)
        await r.start()
        await asyncio.sleep(60)
        assert (notes, r.status, connector.live) == ([0.0], Status.DISCONNECTED, [])

    @virtual
    async def test_stop_through_wait_for_inside_a_callback_finishes_too(self) -> None:
        # On Python 3.11 wait_for runs what it waits for in a task of its own.
        notes = Notes()
        r = supervise(ScriptedConnector([Accept(lasts=1)]))

        @r.on_disconnect
        async def callback(_: BaseException) -> None:
            await asyncio.wait_for(r.stop(), 5)
            notes("finished", now())

        await r.start()
        await asyncio.sleep(60)
        assert notes == [("finished", 1.0)]

    @virtual
    async def test_two_callbacks_that_both_stop_both_finish(self) -> None:
        notes = Notes()
        r = supervise(ScriptedConnector([Accept(lasts=1)]))

        async def callback(_: BaseException) -> None:
            await r.stop()
            notes("finished")

        r.on_disconnect(callback)
        r.on_disconnect(callback)
        await r.start()
        await asyncio.sleep(60)
        assert notes == ["finished"] * 2

    @virtual
    async def test_stop_inside_a_callback_lets_another_that_is_quick_finish(self) -> None:
        notes = Notes()
        r = supervise(ScriptedConnector([Accept(lasts=1)]))

        async def other(_: BaseException) -> None:
            await asyncio.sleep(0.2)
            notes("other", now())

        async def callback(_: BaseException) -> None:
            await r.stop()
            notes("stopped", now())

        r.on_disconnect(other)
        r.on_disconnect(callback)
        await r.start()
        await asyncio.sleep(60)
        assert notes == [("other", 1.2), ("stopped", 1.2)]

    @virtual
    async def test_reconnect_inside_on_disconnect_dials_at_once(self) -> None:
        notes = Notes()
        connector = ScriptedConnector([Accept(lasts=1)])
        r = supervise(connector, retry_interval=lambda n: 30.0)

        @r.on_disconnect
        async def callback(_: BaseException) -> None:
            notes(await r.reconnect())

        async with r:
            await asyncio.sleep(60)
            assert (connector.dials, notes) == ([0.0, 1.0], [True])

    @virtual
    async def test_reconnect_inside_on_give_up_revives_it(self) -> None:
        connector = ScriptedConnector([REFUSED, REFUSED])
        r = supervise(connector, max_retries=1)
        r.on_give_up(lambda error, count: r.reconnect())
        async with r:
            await asyncio.sleep(10)
            assert (r.is_connected, connector.dials) == (True, [0.0, 1.0, 1.0])

    @virtual
    async def test_pause_and_resume_inside_callbacks_are_legal(self) -> None:
        connector = ScriptedConnector([Accept(lasts=1)])
        r = supervise(connector)
        r.on_disconnect(lambda _: r.pause())
        async with r:
            await asyncio.sleep(10)
            assert (r.stats().paused, connector.dials) == (True, [0.0])
            r.resume()
            await r.wait_connected()
            assert connector.dials == [0.0, 10.0]

    @virtual
    async def test_a_callback_that_has_stopped_it_once_is_not_spared_for_ever(self) -> None:
        connector = ScriptedConnector([Accept(lasts=1), Accept(lasts=1), Accept()])
        r = supervise(connector)
        calls: list[float] = []

        @r.on_disconnect
        async def callback(_: BaseException) -> None:
            calls.append(now())
            if len(calls) > 1:
                await forever()
            await r.stop()
            await r.start()
            await asyncio.sleep(2)  # the next loss waits behind this one

        await r.start()
        await asyncio.sleep(10)
        assert calls == [1.0, 3.0]
        await r.stop()
        assert now() <= 10.0 + STOP_BOUND
        assert asyncio.all_tasks() == {asyncio.current_task()}

    @virtual
    async def test_start_inside_a_callback_after_stop_works(self) -> None:
        connector = ScriptedConnector([Accept(lasts=1)])
        r = supervise(connector)

        @r.on_disconnect
        async def callback(_: BaseException) -> None:
            await r.stop()
            await r.start()

        await r.start()
        await asyncio.sleep(10)
        assert (r.is_connected, connector.dials, len(connector.live)) == (True, [0.0, 1.0], 1)
        await r.stop()


class TestAtStop:
    @virtual
    async def test_callbacks_that_are_running_get_three_tenths_of_a_second(self) -> None:
        notes = Notes()

        async def quick() -> None:
            await asyncio.sleep(0.29)
            notes("quick")

        async def slow() -> None:
            try:
                await asyncio.sleep(0.31)
                notes("slow")
            except asyncio.CancelledError:
                notes("slow was cancelled", now())
                raise

        r = supervise(ScriptedConnector())
        r.on_connect(quick)
        r.on_connect(slow)
        await r.start()
        await settle()
        await r.stop()
        assert notes == ["quick", ("slow was cancelled", 0.3)]
        assert now() == 0.3

    @virtual
    async def test_one_that_had_nothing_to_do_at_an_earlier_stop_is_not_spared_at_the_next(self) -> None:
        connector = ScriptedConnector()
        r = supervise(connector)
        r.on_disconnect(forever)
        async with r:
            pass
        await r.start()
        connector.opened[-1].lose()
        await settle()
        began = now()
        await r.stop()
        assert now() - began <= STOP_BOUND
        assert asyncio.all_tasks() == {asyncio.current_task()}

    @virtual
    async def test_one_that_resists_cancellation_does_not_hold_stop_up(self) -> None:
        r = supervise(ScriptedConnector())
        r.on_connect(stubborn(50))
        await r.start()
        await settle()
        await r.stop()
        assert now() <= STOP_BOUND
        await asyncio.sleep(60)

    @virtual
    async def test_calls_that_waited_behind_it_are_not_delivered_in_the_next_life(self) -> None:
        got = Notes()

        async def callback(_: Any, count: int) -> None:
            got(count, now())
            await asyncio.sleep(8)

        connector = ScriptedConnector([REFUSED] * 4)
        r = supervise(connector)
        r.on_reconnect_failed(callback)
        await r.start()
        await asyncio.sleep(3.5)
        await r.stop()
        began = now()
        connector.then = REFUSED
        await r.start()
        await asyncio.sleep(1.5)
        connector.then = Accept()
        await asyncio.sleep(60)
        await r.stop()
        assert got[0] == (1, 0.0)
        assert [count for count, _ in got[1:]] == [1, 2]
        assert got[1] == (1, began)


class TestMailbox:
    @virtual
    async def test_calls_are_delivered_in_order_with_their_arguments(self) -> None:
        got = Notes()
        box = Mailbox(got, "name", Reported(), timeout=None)
        for number in range(5):
            box.post(number, "x")
        assert got == []
        await settle()
        assert got == [(number, "x") for number in range(5)]

    @virtual
    async def test_it_keeps_so_many_and_drops_the_oldest(self) -> None:
        got, reports = Notes(), Reported()
        box = Mailbox(got, "name", reports, timeout=None, limit=3)
        for number in range(10):
            box.post(number)
        await settle()
        assert (got, box.dropped, reports.dropped) == ([7, 8, 9], 7, 7)
        box.drop_waiting()

    @virtual
    async def test_the_first_drop_is_told_at_once_and_the_rest_in_bunches_once_a_second(self) -> None:
        reports = Reported()
        box = Mailbox(forever, "name", reports, timeout=None, limit=1)
        for tick in range(11):  # the call under way and the one that is kept, then a drop every 0.3 s
            box.post(tick)
            await asyncio.sleep(0.3)
        await asyncio.sleep(10)
        assert [count for _, _, count in reports.bunches] == [1, 3, 3, 2]
        assert sum(count for _, _, count in reports.bunches) == box.dropped == 9
        times = [when for when, _, _ in reports.bunches]
        assert times == pytest.approx([0.6, 1.6, 2.6, 3.6])
        assert timers() == []
        await finish([box], 0.1)

    @virtual
    async def test_after_a_quiet_second_the_next_drop_is_told_at_once(self) -> None:
        reports = Reported()
        box = Mailbox(forever, "name", reports, timeout=None, limit=1)
        await start_worker(box)
        for wait in (0.0, 0.0, 5.0):
            await asyncio.sleep(wait)
            box.post(wait)
        assert [(when, count) for when, _, count in reports.bunches] == [(0.0, 1), (5.0, 1)]
        await finish([box], 0.1)

    @virtual
    async def test_the_end_tells_the_rest_and_leaves_no_timer(self) -> None:
        reports = Reported()
        box = Mailbox(forever, "name", reports, timeout=None, limit=10)
        await start_worker(box)
        for number in range(15):
            box.post(number)
        assert (reports.bunches, reports.dropped) == ([(0.0, "name", 1)], 5)
        assert not box.is_idle
        await finish([box], 0.1)  # what waits is dropped too
        assert [count for _, _, count in reports.bunches] == [1, 14]
        assert box.dropped == reports.dropped == 15
        assert timers() == []
        assert box.is_idle

    def test_a_timer_of_a_loop_that_is_gone_silences_nothing(self) -> None:
        reports = Reported()
        box = Mailbox(lambda _: None, "name", reports, timeout=None, limit=1)

        async def flood() -> None:
            for number in range(3):
                box.post(number)

        for _ in range(2):
            run_virtual(flood())
        assert reports.dropped == box.dropped == 4
        assert [count for _, _, count in reports.bunches] == [1, 2]
        assert not box.is_idle

    @virtual
    async def test_post_inside_the_callback_is_delivered_after_it(self) -> None:
        got: list[int] = []

        def callback(number: int) -> None:
            if number:
                box.post(number - 1)
            got.append(number)

        box = Mailbox(callback, "name", Reported(), timeout=None)
        box.post(3)
        await settle()
        assert got == [3, 2, 1, 0]

    @virtual
    async def test_without_a_timeout_a_call_may_take_for_ever(self) -> None:
        done = Notes()

        async def callback() -> None:
            await asyncio.sleep(1e6)
            done("done")

        box = Mailbox(callback, "name", Reported(), timeout=None)
        box.post()
        await asyncio.sleep(1e6 + 1)
        assert done == ["done"]

    @virtual
    async def test_it_works_again_after_its_worker_was_cancelled(self) -> None:
        got = Notes()

        async def callback(number: int) -> None:
            if number == 0:
                await forever()
            got(number)

        box = Mailbox(callback, "name", Reported(), timeout=None)
        box.post(0)
        await settle()
        assert box.task is not None
        assert await cancelled(box.task)
        box.post(1)
        await settle()
        assert got == [1]

    @virtual
    async def test_it_works_again_after_its_worker_was_cancelled_before_it_began(self) -> None:
        got = Notes()
        box = Mailbox(got, "name", Reported(), timeout=None)
        box.post(0)
        assert box.task is not None
        assert await cancelled(box.task)
        box.post(1)
        await settle()
        assert got[-1:] == [1]

    @virtual
    async def test_finish_returns_at_once_when_nothing_runs(self) -> None:
        await finish([Mailbox(forever, "name", Reported(), timeout=None)], 5.0)
        assert now() == 0.0


def test_decorated_callbacks_keep_their_type() -> None:
    r: Reconnector[Any] = supervise(ScriptedConnector())

    @r.on_give_up
    def callback(error: BaseException | None, retry_count: int) -> str:
        return f"{error} {retry_count}"

    text: str = callback(None, 3)
    assert text == "None 3"
