"""From ``start()`` to ``stop()``: the order of things, what ``start()`` says, and who may call what when."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from typing import Any

import pytest

from tests.runtime.support import (
    REFUSED,
    Misbehaving,
    Notes,
    cancelled,
    now,
    settle,
    supervise,
    virtual,
)
from tether import ConfigError, NotConnected, Reconnector, Status, UsageError
from tether.backoff import fixed_interval
from tether.core.events import Kind
from tether.ports import Attempt
from tether.testing.clock import run_virtual
from tether.testing.scripted import Accept, Hang, ScriptedConnection, ScriptedConnector


class TestOrder:
    @virtual
    async def test_a_loss_is_told_waited_out_dialled_restored_and_proved_before_connected_is_said(
        self,
    ) -> None:
        notes = Notes()

        async def dial(attempt: Attempt) -> ScriptedConnection:
            notes("open", now())
            return await connector.scripted_open(attempt)

        async def restore(_: ScriptedConnection) -> tuple[str, ...]:
            notes("restore", now())
            await asyncio.sleep(0.5)
            return ()

        async def probe(_: ScriptedConnection) -> None:
            notes("round trip", now())
            await asyncio.sleep(0.25)

        connector = Misbehaving(open=dial, restore=restore, probe=probe)
        r = supervise(
            connector, health_check=False, retry_interval=lambda n: 3.0, subscribers=[lambda e: notes(e.kind)]
        )
        r.on_connect(lambda: notes("on_connect", now()))
        r.on_disconnect(lambda error: notes("on_disconnect", now()))
        r.on_reconnect(lambda: notes("on_reconnect", now()))
        await r.start()
        await asyncio.sleep(1.25)  # now it is 2.0
        notes.clear()
        connector.opened[0].lose()
        await asyncio.sleep(10)
        await r.stop()
        assert notes[:-1] == [
            Kind.LOST,
            Kind.RETRY_SCHEDULED,
            ("on_disconnect", 2.0),
            Kind.ATTEMPT_STARTED,
            ("open", 5.0),
            ("restore", 5.0),
            ("round trip", 5.5),
            Kind.RECONNECTED,
            ("on_reconnect", 5.75),
        ]

    @virtual
    async def test_the_first_dial_has_no_delay_and_calls_on_connect_but_not_on_reconnect(self) -> None:
        notes = Notes()
        connector = ScriptedConnector([Accept(after=0.5)])
        r = supervise(connector)
        r.on_connect(lambda: notes("on_connect"))
        r.on_reconnect(lambda: notes("on_reconnect"))
        r.on_disconnect(lambda _: notes("on_disconnect"))
        await r.start()
        assert (connector.dials, now(), r.status, r.is_connected) == ([0.0], 0.5, Status.CONNECTED, True)
        await r.stop()
        assert notes == ["on_connect"]

    @virtual
    async def test_the_status_is_connecting_until_the_first_connection_and_reconnecting_ever_after(
        self,
    ) -> None:
        seen: list[tuple[Kind, Status]] = []
        connector = ScriptedConnector([REFUSED, Accept(lasts=5), REFUSED, Accept()])
        r = supervise(connector, subscribers=[lambda e: seen.append((e.kind, e.status))])
        await r.start()
        await asyncio.sleep(30)
        await r.stop()
        assert seen == [
            (Kind.STARTED, Status.CONNECTING),
            (Kind.ATTEMPT_STARTED, Status.CONNECTING),
            (Kind.ATTEMPT_FAILED, Status.CONNECTING),
            (Kind.RETRY_SCHEDULED, Status.CONNECTING),
            (Kind.ATTEMPT_STARTED, Status.CONNECTING),
            (Kind.CONNECTED, Status.CONNECTED),
            (Kind.LOST, Status.RECONNECTING),
            (Kind.RETRY_SCHEDULED, Status.RECONNECTING),
            (Kind.ATTEMPT_STARTED, Status.RECONNECTING),
            (Kind.ATTEMPT_FAILED, Status.RECONNECTING),
            (Kind.RETRY_SCHEDULED, Status.RECONNECTING),
            (Kind.ATTEMPT_STARTED, Status.RECONNECTING),
            (Kind.RECONNECTED, Status.CONNECTED),
            (Kind.STOPPED, Status.DISCONNECTED),
        ]

    @virtual
    async def test_it_is_not_connected_before_restore_and_round_trip_have_succeeded(self) -> None:
        states: list[tuple[str, bool, Status]] = []

        async def restore(_: ScriptedConnection) -> None:
            states.append(("restore", r.is_connected, r.status))

        async def probe(_: ScriptedConnection) -> None:
            states.append(("probe", r.is_connected, r.status))

        r = supervise(Misbehaving(restore=restore, probe=probe))
        await r.start()
        await r.stop()
        assert states == [("restore", False, Status.CONNECTING), ("probe", False, Status.CONNECTING)]

    @virtual
    async def test_every_dial_has_a_generation_of_its_own_and_knows_whether_it_is_a_reconnect(self) -> None:
        dials: list[tuple[int, bool]] = []

        async def dial(attempt: Attempt) -> ScriptedConnection:
            dials.append((attempt.generation, attempt.is_reconnect))
            return await connector.scripted_open(attempt)

        connector = Misbehaving([REFUSED, Accept(lasts=1), REFUSED, Accept()], open=dial)
        r = supervise(connector)
        assert r.generation == 0
        await r.start()
        await asyncio.sleep(30)
        assert r.generation == 4
        await r.stop()
        await r.start()  # a new life begins with a first connection again, but numbers never repeat
        assert r.generation == 5
        await r.stop()
        assert dials == [(1, False), (2, False), (3, True), (4, True), (5, False)]


class TestStart:
    @virtual
    async def test_start_returns_when_the_first_attempt_has_failed_and_healing_goes_on(self) -> None:
        refused = ConnectionRefusedError(111, "nobody listens")
        connector = ScriptedConnector([refused])
        r = supervise(connector)
        await r.start()
        assert (now(), r.status, r.is_connected, r.retry_count) == (0.0, Status.CONNECTING, False, 1)
        assert r.last_error is refused
        await asyncio.sleep(1.5)
        assert (r.status, r.retry_count, connector.dials) == (Status.CONNECTED, 0, [0.0, 1.0])
        assert r.last_error is refused  # stays, for whoever looks later
        await r.stop()

    @virtual
    async def test_require_initial_raises_what_is_wrong_and_leaves_nothing_running(self) -> None:
        refused = ConnectionRefusedError(111, "nobody listens")
        connector = ScriptedConnector(then=refused)
        r = supervise(connector)
        with pytest.raises(NotConnected, match=r"db is connecting \(refused: connection refused\)") as caught:
            await r.start(require_initial=True)
        assert caught.value.__cause__ is refused
        assert r.status is Status.DISCONNECTED
        await asyncio.sleep(100)
        assert connector.dials == [0.0]

    @virtual
    async def test_require_initial_with_a_server_that_is_there_is_an_ordinary_start(self) -> None:
        r = supervise(ScriptedConnector())
        await r.start(require_initial=True)
        assert r.is_connected
        await r.stop()

    @virtual
    async def test_require_initial_says_so_when_it_was_stopped_meanwhile(self) -> None:
        r = supervise(ScriptedConnector(then=Hang()))
        starting = asyncio.create_task(r.start(require_initial=True))
        await asyncio.sleep(1)
        await r.stop()
        with pytest.raises(NotConnected, match="disconnected"):
            await starting

    @virtual
    async def test_starting_twice_is_misuse_and_disturbs_nothing(self) -> None:
        connector = ScriptedConnector()
        r = supervise(connector)
        await r.start()
        with pytest.raises(UsageError, match=r"db is started already \(connected\); call stop\(\) first"):
            await r.start()
        assert r.is_connected
        assert connector.dials == [0.0]
        await r.stop()

    @virtual
    async def test_starting_twice_while_the_first_start_dials_is_misuse_too(self) -> None:
        connector = ScriptedConnector([Accept(after=1)])
        r = supervise(connector)
        starting = asyncio.create_task(r.start())
        await settle()
        with pytest.raises(UsageError, match="started already"):
            await r.start()
        await starting
        assert r.is_connected
        assert connector.dials == [0.0]
        await r.stop()

    @virtual
    async def test_start_after_stop_works_anew_and_counts_from_nothing(self) -> None:
        connector = ScriptedConnector([REFUSED, REFUSED, Accept(lasts=1)])
        notes = Notes()
        r = supervise(connector)
        r.on_connect(lambda: notes("on_connect"))
        await r.start()
        await asyncio.sleep(3.5)
        await r.stop()
        connector.then = REFUSED
        await r.start()
        assert r.retry_count == 1
        connector.then = Accept()
        await r.wait_connected()
        assert connector.dials == [0.0, 1.0, 2.0, 3.5, 4.5]
        await r.stop()
        assert notes == ["on_connect"] * 2

    @virtual
    async def test_async_with_starts_and_stops(self) -> None:
        connector = ScriptedConnector()
        async with supervise(connector) as r:
            assert r.is_connected
        assert r.status is Status.DISCONNECTED
        assert connector.live == []

    @virtual
    async def test_async_with_stops_when_the_body_raises_and_lets_the_error_through(self) -> None:
        connector = ScriptedConnector()
        r = supervise(connector)
        with pytest.raises(KeyError):
            async with r:
                raise KeyError
        assert r.status is Status.DISCONNECTED
        assert connector.live == []

    @virtual
    async def test_entering_what_is_started_already_is_misuse_and_does_not_stop_it(self) -> None:
        async with supervise(ScriptedConnector()) as r:
            with pytest.raises(UsageError, match="started already"):
                async with r:
                    pytest.fail("entered")
            assert r.is_connected

    @virtual
    async def test_async_with_that_is_cancelled_while_entering_leaves_nothing_running(self) -> None:
        # `async with` never calls __aexit__ when __aenter__ did not return.
        connector = ScriptedConnector(then=Hang())
        r = supervise(connector, connect_timeout=2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                async with r:
                    pytest.fail("entered")
        assert r.status is Status.DISCONNECTED
        await asyncio.sleep(100)
        assert connector.dials == [0.0]


class TestMisuse:
    @virtual
    async def test_before_start_commands_say_that_it_is_not_started(self) -> None:
        r = supervise(ScriptedConnector())
        commands: list[Any] = [
            r.reconnect,
            r.wait_connected,
            r.pause,
            r.resume,
            r.network_changed,
            r.credential_changed,
            lambda: r.report(KeyError()),
        ]
        for command in commands:
            with pytest.raises(UsageError, match="db is not started"):
                result = command()
                if inspect.isawaitable(result):
                    await result
        with pytest.raises(NotConnected, match=r"db is disconnected; call start\(\)"):
            await r.run(lambda client: client)
        with pytest.raises(NotConnected, match=r"call start\(\)"):
            async with r.guard():
                pass
        with pytest.raises(NotConnected):
            _ = r.client
        assert (r.is_connected, r.is_started, r.status) == (False, False, Status.DISCONNECTED)
        await r.stop()  # legal: there is nothing to stop

    @virtual
    async def test_after_stop_commands_that_need_a_running_one_say_so_and_dial_nothing(self) -> None:
        connector = ScriptedConnector()
        r = supervise(connector)
        await r.start()
        await r.stop()
        with pytest.raises(UsageError, match="not started"):
            await r.reconnect()
        with pytest.raises(UsageError, match="not started"):
            r.pause()
        with pytest.raises(NotConnected, match=r"call start\(\)"):
            await r.wait_connected(1)
        r.network_changed()
        r.credential_changed()
        r.resume()
        r.report(REFUSED(), r.generation)
        await asyncio.sleep(60)
        assert connector.dials == [0.0]

    @virtual
    async def test_another_threads_loop_may_not_use_it_nor_stop_it(self) -> None:
        r = supervise(ScriptedConnector())
        await r.start()
        errors: list[str] = []

        async def elsewhere() -> None:
            for call in (r.reconnect, r.stop, r.wait_connected, r.start):
                try:
                    await call()
                except UsageError as error:
                    errors.append(str(error))
            try:
                r.pause()
            except UsageError as error:
                errors.append(str(error))

        thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
        thread.start()
        thread.join()
        assert r.is_connected
        assert len(errors) == 5
        assert sum("belongs to the event loop that started it" in error for error in errors) == 4
        await r.stop()

    @virtual
    async def test_outside_of_any_loop_commands_are_refused(self) -> None:
        r = supervise(ScriptedConnector())
        await r.start()
        caught: list[BaseException] = []

        def elsewhere() -> None:
            try:
                r.network_changed()
            except UsageError as error:
                caught.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert [str(error) for error in caught] == [
            "db belongs to the event loop that started it; call it from there"
        ]
        await r.stop()


class TestConstructor:
    def test_it_needs_no_running_loop_and_does_nothing(self) -> None:
        connector = ScriptedConnector()
        r: Reconnector[ScriptedConnection] = Reconnector(connector)
        assert (r.name, r.status, connector.dials) == ("scripted://memory", Status.DISCONNECTED, [])
        assert repr(r) == "<Reconnector 'scripted://memory' disconnected>"

    def test_every_option_is_a_keyword_with_a_visible_default(self) -> None:
        parameters = inspect.signature(Reconnector).parameters
        connector, *options = parameters.values()
        assert connector.name == "connector"
        assert all(option.kind is inspect.Parameter.KEYWORD_ONLY for option in options)
        assert all(option.default is not inspect.Parameter.empty for option in options)
        assert parameters["connect_timeout"].default == 10.0

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("connect_timeout", 0),
            ("connect_timeout", "soon"),
            ("health_check_interval", -1),
            ("health_check_interval", 0),
            ("health_check_timeout", float("nan")),
            ("callback_timeout", 0),
            ("stable_after", -1),
            ("reauth_delay", float("inf")),
            ("failure_threshold", 0),
            ("failure_threshold", 1.5),
            ("failure_threshold", None),
            ("max_retries", -1),
            ("max_retries", True),
            ("max_retries", "3"),
            ("retry_interval", 5),
            ("retry_interval", lambda n: -1),
            ("retry_interval", lambda n: float("nan")),
            ("retry_interval", lambda n: "1s"),
            ("retry_interval", lambda n: True),
            ("credentials", "hunter2"),
        ],
    )
    def test_a_value_that_cannot_work_is_refused_by_name(self, option: str, value: Any) -> None:
        with pytest.raises(ConfigError, match=f"^{option}: "):
            Reconnector(ScriptedConnector(), **{option: value})

    def test_durations_are_accepted_as_text(self) -> None:
        async def main() -> float:
            r = supervise(ScriptedConnector(then=Hang()), connect_timeout="1m30s")
            await r.start()
            at = now()
            await r.stop()
            return at

        assert run_virtual(main()) == 90.0

    @virtual
    async def test_the_logger_is_named_after_the_kind_unless_one_is_given(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        async with Reconnector[Any](ScriptedConnector(), name="mine"):
            pass
        assert {record.name for record in caplog.records} == {"tether.scripted"}


class TestWaitConnected:
    @virtual
    async def test_it_returns_at_once_when_connected(self) -> None:
        async with supervise(ScriptedConnector()) as r:
            await r.wait_connected(0)
            assert now() == 0.0

    @virtual
    async def test_it_returns_as_soon_as_connected(self) -> None:
        async with supervise(ScriptedConnector([REFUSED, REFUSED])) as r:
            await r.wait_connected(60)
            assert now() == 2.0

    @virtual
    async def test_it_raises_timeout_error_in_time(self) -> None:
        async with supervise(ScriptedConnector(then=REFUSED)) as r:
            with pytest.raises(TimeoutError):
                await r.wait_connected("7s")
            assert now() == 7.0

    @virtual
    async def test_it_raises_not_connected_at_once_when_given_up(self) -> None:
        async with supervise(ScriptedConnector(then=REFUSED), max_retries=0) as r:
            assert r.status is Status.FAILED
            with pytest.raises(
                NotConnected, match=r"db is failed \(refused.*call reconnect\(\) to try again"
            ):
                await r.wait_connected(60)
            assert now() == 0.0

    @virtual
    async def test_it_raises_not_connected_when_given_up_meanwhile(self) -> None:
        async with supervise(ScriptedConnector(then=REFUSED), max_retries=3) as r:
            with pytest.raises(NotConnected, match="failed"):
                await r.wait_connected()
            assert now() == 3.0

    @virtual
    async def test_it_raises_not_connected_when_stopped_meanwhile(self) -> None:
        r = supervise(ScriptedConnector(then=REFUSED))
        await r.start()
        waiting = asyncio.create_task(r.wait_connected())
        await asyncio.sleep(0.5)
        await r.stop()
        with pytest.raises(NotConnected, match="disconnected"):
            await waiting

    @virtual
    async def test_it_waits_on_when_the_connection_is_gone_again_before_the_waiter_wakes(self) -> None:
        connector = ScriptedConnector([REFUSED, Accept(lasts=0.0), REFUSED, Accept()])
        async with supervise(connector) as r:
            await r.wait_connected()
            assert r.is_connected


class TestCancelledCallers:
    """A cancelled caller never cancels what others share."""

    @virtual
    async def test_a_cancelled_start_leaves_the_dial_alone(self) -> None:
        connector = ScriptedConnector([Accept(after=2)])
        r = supervise(connector)
        starting = asyncio.create_task(r.start())
        await asyncio.sleep(1)
        assert await cancelled(starting)
        await r.wait_connected()
        assert (now(), connector.dials) == (2.0, [0.0])
        await r.stop()

    @virtual
    async def test_a_cancelled_reconnect_leaves_the_dial_and_the_other_callers_alone(self) -> None:
        connector = ScriptedConnector([REFUSED, Accept(after=2)])
        async with supervise(connector, retry_interval=fixed_interval(30)) as r:
            first, second = (asyncio.create_task(r.reconnect()) for _ in range(2))
            await asyncio.sleep(1)
            assert await cancelled(first)
            assert await second is True
            assert (now(), connector.dials) == (2.0, [0.0, 0.0])

    @virtual
    async def test_a_cancelled_wait_connected_leaves_the_dial_and_the_other_waiters_alone(self) -> None:
        connector = ScriptedConnector([REFUSED, Accept(after=2)])
        async with supervise(connector) as r:
            first, second = (asyncio.create_task(r.wait_connected()) for _ in range(2))
            await asyncio.sleep(1.5)
            assert await cancelled(first)
            await second
            assert (now(), connector.dials) == (3.0, [0.0, 1.0])

    @virtual
    async def test_a_cancelled_run_that_waits_leaves_the_dial_alone(self) -> None:
        connector = ScriptedConnector([REFUSED, Accept(after=2)])
        async with supervise(connector) as r:
            waiting = asyncio.create_task(r.run(lambda client: client, timeout=60))
            await asyncio.sleep(1.5)
            assert await cancelled(waiting)
            await r.wait_connected()
            assert connector.dials == [0.0, 1.0]

    @virtual
    async def test_a_cancelled_stop_still_stops(self) -> None:
        async def slow(_: ScriptedConnection) -> None:
            await asyncio.sleep(0.1)

        connector = Misbehaving([Accept(lasts=1), Accept()], close=slow)
        r = supervise(connector)
        await r.start()
        reading = asyncio.create_task(_read(r))
        await settle()
        stopping = asyncio.create_task(r.stop())
        await settle()
        assert await cancelled(stopping)
        assert r.status is Status.DISCONNECTED
        await asyncio.sleep(60)
        assert connector.dials == [0.0]
        assert (await reading)[-1] is Kind.STOPPED  # readers are let go all the same


async def _read(r: Reconnector[Any]) -> list[Kind]:
    return [event.kind async for event in r.events()]
