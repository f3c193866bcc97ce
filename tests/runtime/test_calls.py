"""Users' calls: ``run()`` and ``guard()`` in good times, in mid-loss, and while down."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Generator
from typing import Any

import pytest

from tests.runtime.support import (
    REFUSED,
    Misbehaving,
    forever,
    now,
    settle,
    supervise,
    virtual,
)
from tether import IndeterminateError, NotConnected, Status, UsageError
from tether.backoff import fixed_interval
from tether.core.cause import Code
from tether.testing.scripted import Accept, Hang, ScriptedConnection, ScriptedConnector


def this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def assert_not_cancelled() -> None:
    """No cancellation may be left over: neither counted nor pending."""
    assert this_task().cancelling() == 0
    for _ in range(3):
        await asyncio.sleep(0.001)


class TestResults:
    @virtual
    async def test_an_operation_may_be_sync_or_async_and_gets_the_client(self) -> None:
        async def later(connection: ScriptedConnection) -> int:
            await asyncio.sleep(1)
            return connection.generation

        class Awaitable:
            def __await__(self) -> Generator[Any, None, str]:
                yield from asyncio.sleep(0).__await__()
                return "awaited"

        async with supervise(ScriptedConnector()) as r:
            assert await r.run(lambda connection: connection) is r.client
            assert await r.run(later) == 1
            assert await r.run(str) == str(r.client)
            assert await r.run(lambda _: Awaitable()) == "awaited"
            assert await r.run(lambda _: asyncio.ensure_future(later(r.client))) == 1
            assert r._engine.calls == {}

    @virtual
    async def test_an_exception_that_is_no_loss_comes_through_unchanged_and_disturbs_nothing(self) -> None:
        error = KeyError("mine")

        def sync(_: ScriptedConnection) -> None:
            raise error

        async def later(_: ScriptedConnection) -> None:
            await asyncio.sleep(1)
            raise error

        connector = ScriptedConnector()
        async with supervise(connector, health_check=False) as r:
            for operation in (sync, later):
                for options in ({}, {"idempotent": True}, {"timeout": 5}):
                    with pytest.raises(KeyError) as caught:
                        await r.run(operation, **options)
                    assert caught.value is error
                    assert error.__cause__ is None
            await settle()
            assert (r.is_connected, r.stats().losses, connector.probes) == (True, 0, 1)
            assert r._engine.calls == {}

    @virtual
    async def test_a_bare_runtime_error_of_the_users_own_code_is_no_loss(self) -> None:
        def operation(_: ScriptedConnection) -> None:
            raise RuntimeError("mine")

        async with supervise(ScriptedConnector()) as r:
            with pytest.raises(RuntimeError, match=r"^mine$"):
                await r.run(operation)
            assert r.is_connected

    @virtual
    async def test_a_bare_runtime_error_raised_by_the_driver_is_a_loss(self) -> None:
        def driver(_: ScriptedConnection) -> None:
            loop = asyncio.new_event_loop()
            loop.close()
            loop.call_soon(print)  # asyncio raises: RuntimeError('Event loop is closed')

        async with supervise(ScriptedConnector()) as r:
            with pytest.raises(IndeterminateError) as caught:
                await r.run(driver)
            assert type(caught.value.__cause__) is RuntimeError
            assert r.status is Status.RECONNECTING


class TestNoFunction:
    """``run(f(client))`` instead of ``run(f)``. That no 'never awaited' warning follows, pytest sees: it would fail."""

    @pytest.mark.parametrize("options", [{}, {"idempotent": True}, {"timeout": 5}], ids=str)
    @pytest.mark.parametrize("up", [True, False])
    @virtual
    async def test_a_coroutine_is_refused_with_the_mend_and_closed(
        self, options: dict[str, Any], up: bool
    ) -> None:
        async def work() -> None:
            pytest.fail("ran")

        coroutine: Any = work()
        async with supervise(ScriptedConnector(then=Accept() if up else REFUSED)) as r:
            with pytest.raises(
                UsageError, match=r"not the coroutine .*work has made; write run\(lambda client: "
            ):
                await r.run(coroutine, **options)
            assert r.is_connected is up
        assert coroutine.cr_frame is None  # closed
        gc.collect()

    @pytest.mark.parametrize("thing", ["GET key", None, 3])
    @virtual
    async def test_what_cannot_be_called_is_named(self, thing: Any) -> None:
        async with supervise(ScriptedConnector()) as r:
            with pytest.raises(
                UsageError, match=f"^db: run\\(\\) takes a function .* not a {type(thing).__name__};"
            ):
                await r.run(thing)
            assert (r.stats().losses, r._engine.calls) == (0, {})


class TestNetworkErrors:
    @virtual
    async def test_an_error_that_proves_the_loss_tears_down_and_leaves_the_call_indeterminate(self) -> None:
        error = BrokenPipeError(32, "Broken pipe")

        async def operation(_: ScriptedConnection) -> None:
            raise error

        connector = ScriptedConnector()
        async with supervise(connector) as r:
            with pytest.raises(IndeterminateError) as caught:
                await r.run(operation)
            assert caught.value.__cause__ is error
            assert caught.value.cause is not None
            assert (caught.value.cause.code, caught.value.cause.error) == (Code.RESET, error)
            assert "db was lost in mid-call (reset" in str(caught.value)
            assert (r.status, connector.live) == (Status.RECONNECTING, [])
            await assert_not_cancelled()
            await r.wait_connected()

    @pytest.mark.parametrize(
        ("error", "rule"),
        [
            (TimeoutError("slow query"), None),
            (PermissionError("no right to that table"), "auth"),
            (ValueError("come back later"), "overloaded"),
            (LookupError("500"), "server_error"),
        ],
    )
    @virtual
    async def test_an_error_that_proves_nothing_comes_through_and_asks_for_a_probe(
        self, error: Exception, rule: str | None
    ) -> None:
        async def operation(_: ScriptedConnection) -> None:
            raise error

        connector = ScriptedConnector()
        async with supervise(
            connector, health_check=False, rules=[lambda e, p: rule if e is error else None]
        ) as r:
            with pytest.raises(type(error)) as caught:
                await r.run(operation)
            assert caught.value is error
            await settle()
            assert (r.is_connected, connector.probes) == (True, 2)

    @virtual
    async def test_a_slow_call_on_a_dead_connection_is_followed_by_the_loss(self) -> None:
        async def operation(connection: ScriptedConnection) -> None:
            connection.die()
            raise TimeoutError

        connector = ScriptedConnector()
        async with supervise(connector, health_check=False) as r:
            with pytest.raises(TimeoutError):
                await r.run(operation)
            await settle()
            assert r.status is Status.RECONNECTING

    @virtual
    async def test_a_timeout_with_an_errno_comes_from_the_kernel_and_proves_the_loss(self) -> None:
        async def operation(_: ScriptedConnection) -> None:
            raise TimeoutError(110, "Connection timed out")

        async with supervise(ScriptedConnector()) as r:
            with pytest.raises(IndeterminateError):
                await r.run(operation)
            assert r.status is Status.RECONNECTING

    @virtual
    async def test_a_late_error_of_an_old_connection_leaves_the_call_indeterminate_and_the_new_one_alone(
        self,
    ) -> None:
        async def operation(_: ScriptedConnection) -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await forever()
            await asyncio.sleep(5)  # the driver takes its time to find out
            raise ConnectionResetError(104, "late")

        connector = ScriptedConnector([Accept(lasts=1)])
        async with supervise(connector) as r:
            with pytest.raises(IndeterminateError):
                await r.run(operation)
            assert (now(), r.is_connected, r.generation, r.stats().losses) == (6.0, True, 2, 1)
            await assert_not_cancelled()

    @virtual
    async def test_secrets_are_kept_out_of_the_errors_text(self) -> None:
        async def operation(_: ScriptedConnection) -> None:
            raise ConnectionResetError(104, "while talking to redis://joe:swordfish@host with hunter2")

        connector = ScriptedConnector()
        connector.secrets = ("hunter2",)
        async with supervise(connector) as r:
            with pytest.raises(IndeterminateError) as caught:
                await r.run(operation)
            assert "swordfish" not in str(caught.value)
            assert "hunter2" not in str(caught.value)


class TestLossInMidCall:
    @virtual
    async def test_a_call_that_hangs_ends_at_the_moment_of_the_loss(self) -> None:
        async with supervise(ScriptedConnector([Accept(lasts=3)])) as r:
            with pytest.raises(IndeterminateError) as caught:
                await r.run(forever)
            assert now() == 3.0
            assert caught.value.cause is not None
            assert caught.value.cause.code is Code.RESET
            await assert_not_cancelled()
            assert r._engine.calls == {}

    @virtual
    async def test_all_calls_under_way_end_and_none_of_the_next_connection(self) -> None:
        async with supervise(ScriptedConnector([Accept(lasts=3)])) as r:
            old = [asyncio.create_task(r.run(forever)) for _ in range(10)]
            await asyncio.sleep(4.5)
            new = asyncio.create_task(r.run(lambda _: asyncio.sleep(50, "done")))
            results = await asyncio.gather(*old, return_exceptions=True)
            assert all(isinstance(result, IndeterminateError) for result in results)
            assert await new == "done"

    @virtual
    async def test_a_driver_that_tells_the_loss_inside_the_call_and_raises_leaves_no_cancellation_behind(
        self,
    ) -> None:
        def operation(connection: ScriptedConnection) -> None:
            connection.lose()
            raise ConnectionResetError(104, "x")

        async with supervise(ScriptedConnector()) as r:
            with pytest.raises(IndeterminateError):
                await r.run(operation)
            await assert_not_cancelled()

    @virtual
    async def test_a_driver_that_tells_the_loss_inside_the_call_and_returns_leaves_no_cancellation_behind(
        self,
    ) -> None:
        def operation(connection: ScriptedConnection) -> str:
            connection.lose()
            return "done all the same"

        async with supervise(ScriptedConnector()) as r:
            assert await r.run(operation) == "done all the same"
            await assert_not_cancelled()
            assert r.stats().losses == 1

    @pytest.mark.parametrize("ends_well", [True, False])
    @virtual
    async def test_the_users_own_cancellation_just_after_such_a_call_is_not_taken_for_ours(
        self, ends_well: bool
    ) -> None:
        def operation(connection: ScriptedConnection) -> str:
            connection.lose()
            asyncio.get_running_loop().call_soon(this_task().cancel)
            if ends_well:
                return "done"
            raise ConnectionResetError(104, "x")

        async def body() -> None:
            with contextlib.suppress(IndeterminateError):
                await r.run(operation)
            await asyncio.sleep(100)
            pytest.fail("the cancellation was lost")

        async with supervise(ScriptedConnector()) as r:
            task = asyncio.create_task(body())
            await asyncio.wait({task})
            assert (task.cancelled(), task.cancelling(), now()) == (True, 1, 0.0)

    @virtual
    async def test_a_driver_that_tells_the_loss_inside_the_call_and_then_hangs_is_ended(self) -> None:
        async def operation(connection: ScriptedConnection) -> None:
            connection.lose()
            await forever()

        async with supervise(ScriptedConnector()) as r:
            with pytest.raises(IndeterminateError):
                await r.run(operation)
            assert now() == 0.0
            await assert_not_cancelled()

    @virtual
    async def test_a_report_inside_the_call_leaves_no_cancellation_behind(self) -> None:
        async with supervise(ScriptedConnector()) as r:

            def operation(_: ScriptedConnection) -> str:
                r.report(ConnectionResetError(104, "x"), r.generation)
                return "done"

            assert await r.run(operation) == "done"
            await assert_not_cancelled()

    @virtual
    async def test_an_operation_that_swallows_the_cancellation_ends_as_it_likes(self) -> None:
        async def operation(_: ScriptedConnection) -> str:
            with contextlib.suppress(asyncio.CancelledError):
                await forever()
            await asyncio.sleep(1)
            return "done all the same"

        async with supervise(ScriptedConnector([Accept(lasts=3)])) as r:
            assert await r.run(operation) == "done all the same"
            assert now() == 4.0
            await assert_not_cancelled()

    @virtual
    async def test_a_driver_that_turns_the_cancellation_into_its_own_error_is_indeterminate(self) -> None:
        async def operation(_: ScriptedConnection) -> None:
            try:
                await forever()
            except asyncio.CancelledError:
                raise ConnectionAbortedError("the pool is closing") from None

        async with supervise(ScriptedConnector([Accept(lasts=3)])) as r:
            with pytest.raises(IndeterminateError) as caught:
                await r.run(operation)
            assert caught.value.cause is not None
            assert caught.value.cause.detail == "reset_by_peer"  # the loss, not what became of it
            await assert_not_cancelled()

    @virtual
    async def test_an_answer_in_the_very_moment_of_the_loss_is_not_followed_by_a_cancellation(self) -> None:
        for order in range(2):
            connector = ScriptedConnector()
            async with supervise(connector) as r:
                answer = asyncio.get_running_loop().create_future()
                calling = asyncio.create_task(self._call_then_sleep(r, answer))
                await settle()
                steps = [lambda a=answer: a.done() or a.set_result("answer"), connector.opened[0].lose]
                for step in steps[::-1] if order else steps:
                    step()
                assert (await calling)[1] == 0

    @staticmethod
    async def _call_then_sleep(r: Any, answer: asyncio.Future[str]) -> tuple[str, int]:
        try:
            result = str(await r.run(lambda _: answer))
        except IndeterminateError:
            result = "indeterminate"
        await asyncio.sleep(1)
        return result, this_task().cancelling()


class TestCommandsInside:
    @virtual
    async def test_a_call_that_forces_a_reconnect_comes_back_from_it(self) -> None:
        async def operation(_: ScriptedConnection) -> tuple[bool, int]:
            return await r.reconnect(), r.generation

        async with supervise(ScriptedConnector()) as r:
            assert await r.run(operation) == (True, 2)
            await assert_not_cancelled()

    @virtual
    async def test_the_others_end_as_indeterminate_meanwhile(self) -> None:
        async with supervise(ScriptedConnector()) as r:
            other = asyncio.create_task(r.run(forever))
            await settle()
            assert await r.run(lambda _: r.reconnect()) is True
            with pytest.raises(IndeterminateError, match="reconnect was requested"):
                await other


class TestCancellation:
    @virtual
    async def test_the_users_own_cancellation_comes_through(self) -> None:
        async with supervise(ScriptedConnector()) as r:
            calling = asyncio.create_task(r.run(forever))
            await settle()
            calling.cancel()
            await asyncio.wait({calling})
            assert calling.cancelled()
            assert r.is_connected
            assert r._engine.calls == {}

    @pytest.mark.parametrize("loss_first", [True, False])
    @virtual
    async def test_the_users_own_cancellation_comes_through_even_in_the_moment_of_the_loss(
        self, loss_first: bool
    ) -> None:
        connector = ScriptedConnector()
        async with supervise(connector) as r:
            calling = asyncio.create_task(r.run(forever))
            await settle()
            if loss_first:
                connector.opened[0].lose()
            calling.cancel()
            if not loss_first:
                connector.opened[0].lose()
            await asyncio.wait({calling})
            assert calling.cancelled()
            assert calling.cancelling() == 1

    @virtual
    async def test_a_loss_during_the_cleanup_of_a_cancelled_call_does_not_eat_the_cancellation(self) -> None:
        async def operation(_: ScriptedConnection) -> None:
            try:
                await forever()
            finally:
                await asyncio.sleep(2)

        connector = ScriptedConnector([Accept(lasts=3)])
        async with supervise(connector) as r:
            calling = asyncio.create_task(r.run(operation))
            await asyncio.sleep(2)
            calling.cancel()
            await asyncio.wait({calling})
            assert (now(), calling.cancelled()) == (3.0, True)

    @virtual
    async def test_a_call_made_while_cleaning_up_after_a_cancellation_still_learns_of_the_loss(self) -> None:
        caught: list[BaseException] = []

        async def body() -> None:
            try:
                await forever()
            finally:
                try:
                    await r.run(forever)
                except IndeterminateError as error:
                    caught.append(error)

        async with supervise(ScriptedConnector([Accept(lasts=3)])) as r:
            task = asyncio.create_task(body())
            await asyncio.sleep(1)
            task.cancel()
            await asyncio.wait({task})
            assert len(caught) == 1
            assert task.cancelled()

    @virtual
    async def test_a_timeout_of_the_callers_own_around_it_is_a_timeout(self) -> None:
        async with supervise(ScriptedConnector()) as r:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2):
                    await r.run(forever)
            assert now() == 2.0
            await assert_not_cancelled()

    @virtual
    async def test_a_loss_inside_a_timeout_of_the_callers_own_is_no_timeout(self) -> None:
        async with supervise(ScriptedConnector([Accept(lasts=1)])) as r:
            with pytest.raises(IndeterminateError):
                async with asyncio.timeout(2):
                    await r.run(forever)
            await assert_not_cancelled()
            await asyncio.sleep(5)

    @virtual
    async def test_a_timeout_of_the_callers_own_in_the_moment_of_the_loss_is_a_timeout(self) -> None:
        async with supervise(ScriptedConnector([Accept(lasts=2)])) as r:
            with pytest.raises((TimeoutError, IndeterminateError)):
                async with asyncio.timeout(2):
                    await r.run(forever)
            await assert_not_cancelled()

    @virtual
    async def test_a_timeout_inside_the_operation_works_and_so_does_a_loss_inside_it(self) -> None:
        async def operation(_: ScriptedConnection) -> str:
            try:
                async with asyncio.timeout(1):
                    await forever()
            except TimeoutError:
                pass
            async with asyncio.timeout(10):
                await forever()
            return "never"

        async with supervise(ScriptedConnector([Accept(lasts=3)])) as r:
            with pytest.raises(IndeterminateError):
                await r.run(operation)
            assert now() == 3.0
            await assert_not_cancelled()

    @virtual
    async def test_a_task_group_inside_the_operation_is_ended_by_the_loss(self) -> None:
        ended: list[str] = []

        async def child() -> None:
            try:
                await forever()
            finally:
                ended.append("child")

        async def operation(_: ScriptedConnection) -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(child())
                group.create_task(child())

        async with supervise(ScriptedConnector([Accept(lasts=3)])) as r:
            with pytest.raises(IndeterminateError):
                await r.run(operation)
            assert ended == ["child"] * 2
            await assert_not_cancelled()


class TestNested:
    @virtual
    async def test_a_call_inside_a_call_belongs_to_the_outer_one(self) -> None:
        async with supervise(ScriptedConnector([Accept(lasts=3)])) as r:
            assert await r.run(lambda _: r.run(lambda c: c.generation)) == 1
            with pytest.raises(IndeterminateError):
                await r.run(lambda _: r.run(forever))
            assert now() == 3.0
            await assert_not_cancelled()
            assert r._engine.calls == {}

    @virtual
    async def test_a_guard_inside_a_call_inside_a_guard(self) -> None:
        async with supervise(ScriptedConnector([Accept(lasts=3)])) as r:

            async def operation(_: ScriptedConnection) -> None:
                async with r.guard():
                    await forever()

            with pytest.raises(IndeterminateError):
                async with r.guard():
                    await r.run(operation)
            await assert_not_cancelled()
            assert r._engine.calls == {}

    @virtual
    async def test_a_call_on_one_inside_a_call_on_another_and_both_lost_at_once(self) -> None:
        async with (
            supervise(ScriptedConnector([Accept(lasts=3)]), name="outer") as outer,
            supervise(ScriptedConnector([Accept(lasts=3)]), name="inner") as inner,
        ):
            with pytest.raises(IndeterminateError, match=r"^outer was lost"):
                await outer.run(lambda _: inner.run(forever))
            await assert_not_cancelled()

    @virtual
    async def test_the_loss_of_the_inner_of_two_leaves_the_outer_alone(self) -> None:
        async with (
            supervise(ScriptedConnector(), name="outer") as outer,
            supervise(ScriptedConnector([Accept(lasts=3)]), name="inner") as inner,
        ):

            async def operation(_: ScriptedConnection) -> str:
                with pytest.raises(IndeterminateError, match=r"^inner was lost"):
                    await inner.run(forever)
                await asyncio.sleep(10)
                return "done"

            assert await outer.run(operation) == "done"
            await assert_not_cancelled()

    @virtual
    async def test_calls_inside_callbacks_work(self) -> None:
        got: list[int] = []
        r = supervise(ScriptedConnector([Accept(lasts=1)]))

        @r.on_reconnect
        async def callback() -> None:
            got.append(await r.run(lambda c: c.generation))

        async with r:
            await asyncio.sleep(10)
        assert got == [2]


class TestWhileDown:
    @virtual
    async def test_without_a_timeout_it_says_at_once_what_is_wrong_and_what_happens_next(self) -> None:
        error = ConnectionRefusedError(111, "nobody listens")
        async with supervise(ScriptedConnector([error])) as r:
            await asyncio.sleep(0.25)
            with pytest.raises(NotConnected) as caught:
                await r.run(lambda c: c)
            assert now() == 0.25
            assert (
                str(caught.value) == "db is connecting (refused: connection refused); next attempt in 0.8 s"
            )
            assert caught.value.__cause__ is error

    @virtual
    async def test_the_text_is_useful_in_every_state(self) -> None:
        connector = ScriptedConnector([Accept(lasts=1), Hang()], then=REFUSED)
        r = supervise(connector, max_retries=1, connect_timeout=5)
        texts: list[str] = []

        async def ask() -> None:
            with pytest.raises(NotConnected) as caught:
                await r.run(lambda c: c)
            texts.append(str(caught.value))

        await ask()
        await r.start()
        await asyncio.sleep(1.5)
        await ask()
        await asyncio.sleep(1)
        await ask()
        await asyncio.sleep(10)
        await ask()
        await r.stop()
        await ask()
        assert texts == [
            "db is disconnected; call start()",
            "db is reconnecting (reset: connection reset by peer); next attempt in 0.5 s",
            "db is reconnecting (reset: connection reset by peer)",
            "db is failed (timeout: network timeout); call reconnect() to try again",
            "db is disconnected (timeout: network timeout); call start()",
        ]

    @virtual
    async def test_with_a_timeout_it_waits_for_the_connection(self) -> None:
        async with supervise(ScriptedConnector([REFUSED, REFUSED])) as r:
            assert await r.run(lambda c: c.generation, timeout=10) == 3
            assert now() == 2.0

    @virtual
    async def test_the_timeout_covers_the_wait(self) -> None:
        called: list[Any] = []
        async with supervise(ScriptedConnector(then=REFUSED)) as r:
            with pytest.raises(TimeoutError):
                await r.run(called.append, timeout="3500ms")
            assert (now(), called) == (3.5, [])

    @virtual
    async def test_the_timeout_covers_the_wait_and_the_call_together(self) -> None:
        async with supervise(ScriptedConnector([REFUSED, REFUSED])) as r:
            with pytest.raises(TimeoutError):
                await r.run(forever, timeout=5)
            assert now() == 5.0
            assert r.is_connected
            await assert_not_cancelled()

    @virtual
    async def test_a_timeout_in_mid_call_is_no_loss_but_asks_for_a_probe(self) -> None:
        connector = ScriptedConnector()
        async with supervise(connector, health_check=False, health_check_timeout=2) as r:
            with pytest.raises(TimeoutError):
                await r.run(forever, timeout=5)
            await settle()
            assert (r.stats().losses, connector.probes, r._engine.calls) == (0, 2, {})
            connector.opened[0].mute = True
            with pytest.raises(TimeoutError):
                await r.run(forever, timeout=5)
            await asyncio.sleep(1.9)
            assert r.is_connected
            await asyncio.sleep(0.2)
            assert r.status is Status.RECONNECTING

    @virtual
    async def test_given_up_meanwhile_it_says_so(self) -> None:
        async with supervise(ScriptedConnector(then=REFUSED), max_retries=2) as r:
            with pytest.raises(NotConnected, match="db is failed"):
                await r.run(lambda c: c, timeout=60)
            assert now() == 2.0

    @virtual
    async def test_the_connection_that_is_gone_again_before_the_call_can_begin_is_waited_out(self) -> None:
        connector = ScriptedConnector([REFUSED, Accept(lasts=0.0)])
        async with supervise(connector) as r:
            assert await r.run(lambda c: c.generation, timeout=10) == 3

    @virtual
    async def test_stopped_or_never_started_it_does_not_wait(self) -> None:
        r = supervise(ScriptedConnector())
        with pytest.raises(NotConnected, match=r"call start\(\)"):
            await r.run(lambda c: c, timeout=60)
        assert now() == 0.0


class TestIdempotent:
    @virtual
    async def test_it_is_repeated_on_the_next_connection(self) -> None:
        seen: list[int] = []

        async def operation(connection: ScriptedConnection) -> int:
            seen.append(connection.generation)
            if connection.generation < 3:
                await forever()
            return connection.generation

        async with supervise(ScriptedConnector([Accept(lasts=1), Accept(lasts=1)])) as r:
            assert await r.run(operation, idempotent=True) == 3
            assert (seen, now()) == ([1, 2, 3], 4.0)
            await assert_not_cancelled()

    @virtual
    async def test_without_the_mark_it_is_never_repeated(self) -> None:
        seen: list[int] = []

        async def operation(connection: ScriptedConnection) -> None:
            seen.append(connection.generation)
            await forever()

        async with supervise(ScriptedConnector([Accept(lasts=1)])) as r:
            with pytest.raises(IndeterminateError):
                await r.run(operation, timeout=60)
            await asyncio.sleep(10)
            assert seen == [1]

    @virtual
    async def test_it_is_repeated_after_an_error_that_proves_the_loss(self) -> None:
        async def operation(connection: ScriptedConnection) -> int:
            if connection.generation == 1:
                raise ConnectionResetError(104, "x")
            return connection.generation

        async with supervise(ScriptedConnector()) as r:
            assert await r.run(operation, idempotent=True) == 2

    @virtual
    async def test_it_is_repeated_after_a_forced_reconnect(self) -> None:
        connector = ScriptedConnector([Accept(), Accept(after=1), Accept(after=1)])

        async def operation(connection: ScriptedConnection) -> int:
            if connection.generation < 3:
                await forever()
            return connection.generation

        async with supervise(connector) as r:
            calling = asyncio.create_task(r.run(operation, idempotent=True))
            await settle()
            for _ in range(2):
                await r.reconnect()
                await asyncio.sleep(1)
            assert await calling == 3

    @virtual
    async def test_the_repetition_waits_as_long_as_the_timeout_allows(self) -> None:
        async def operation(connection: ScriptedConnection) -> int:
            if connection.generation == 1:
                await forever()
            return connection.generation

        connector = ScriptedConnector([Accept(lasts=1)] + [REFUSED] * 30)
        async with supervise(connector, connect_timeout=10) as r:
            assert await r.run(operation, idempotent=True, timeout=60) == 32
            assert now() == 32.0

    @virtual
    async def test_the_timeout_covers_all_repetitions(self) -> None:
        async with supervise(ScriptedConnector(then=Accept(lasts=1))) as r:
            with pytest.raises(TimeoutError):
                await r.run(forever, idempotent=True, timeout=7)
            assert now() == 7.0
            await assert_not_cancelled()

    @virtual
    async def test_without_a_timeout_it_does_not_wait_longer_than_one_attempt_may_take(self) -> None:
        connector = ScriptedConnector([Accept(lasts=1)], then=REFUSED)
        async with supervise(connector, connect_timeout=10) as r:
            with pytest.raises(NotConnected, match="db is reconnecting"):
                await r.run(forever, idempotent=True)
            assert now() == 11.0

    @virtual
    async def test_given_up_meanwhile_it_says_so(self) -> None:
        connector = ScriptedConnector([Accept(lasts=1)], then=REFUSED)
        async with supervise(connector, max_retries=2) as r:
            with pytest.raises(NotConnected, match="db is failed"):
                await r.run(forever, idempotent=True, timeout=60)
            assert now() == 3.0

    @virtual
    async def test_the_users_own_cancellation_ends_the_repetition(self) -> None:
        async with supervise(ScriptedConnector([Accept(lasts=1)], then=REFUSED)) as r:
            calling = asyncio.create_task(r.run(forever, idempotent=True, timeout=60))
            await asyncio.sleep(2.5)
            calling.cancel()
            await asyncio.wait({calling})
            assert (now(), calling.cancelled()) == (2.5, True)

    @virtual
    async def test_on_a_pool_that_is_well_a_broken_call_is_repeated_once_and_then_raised(self) -> None:
        calls: list[float] = []
        connector = ScriptedConnector()
        connector.client = object()

        async def operation(_: Any) -> None:
            calls.append(now())
            raise ConnectionResetError(104, "x")

        async with supervise(connector) as r:
            with pytest.raises(IndeterminateError):
                await r.run(operation, idempotent=True)
            assert (len(calls), r.is_connected, connector.dials) == (2, True, [0.0])


class TestClientsOfTheUser:
    @virtual
    async def test_their_client_is_always_there_and_is_what_operations_get(self) -> None:
        connector = ScriptedConnector([REFUSED])
        connector.client = client = object()
        r = supervise(connector)
        assert r.client is client
        async with r:
            assert (r.client, r.is_connected) == (client, False)
            await r.wait_connected()
            assert await r.run(lambda c: c) is client
            async with r.guard() as inside:
                assert inside is client

    @virtual
    async def test_a_broken_call_asks_for_a_probe_and_never_tears_down_by_itself(self) -> None:
        connector = ScriptedConnector()
        connector.client = object()

        async def operation(_: Any) -> None:
            raise ConnectionResetError(104, "one of the pool's")

        async with supervise(connector, health_check=False) as r:
            with pytest.raises(IndeterminateError):
                await r.run(operation)
            assert r.is_connected
            await settle()
            assert (r.is_connected, connector.probes, connector.dials) == (True, 2, [0.0])
            connector.opened[0].die()
            with pytest.raises(IndeterminateError):
                await r.run(operation)
            await settle()
            assert r.status is Status.RECONNECTING

    @pytest.mark.parametrize("idempotent", [False, True])
    @virtual
    async def test_around_a_driver_that_retries_by_itself_the_server_sees_only_the_drivers_attempts(
        self, idempotent: bool
    ) -> None:
        attempts: list[float] = []
        connector = ScriptedConnector()
        connector.client = object()
        connector.driver_retries = True

        async def operation(_: Any) -> None:
            for _ in range(3):  # the driver's own retries
                attempts.append(now())
                await asyncio.sleep(0.1)
            raise ConnectionResetError(104, "the driver gave up")

        async with supervise(connector) as r:
            with pytest.raises(IndeterminateError):
                await r.run(operation, idempotent=idempotent, timeout=60)
            await asyncio.sleep(20)
            assert len(attempts) == 3

    @virtual
    async def test_a_driver_that_retries_by_itself_is_not_interrupted_by_the_loss(self) -> None:
        connector = ScriptedConnector([Accept(lasts=1)])
        connector.client = object()
        connector.driver_retries = True

        async def operation(_: Any) -> str:
            await asyncio.sleep(5)
            return "the driver healed it"

        async with supervise(connector) as r:
            assert await r.run(operation) == "the driver healed it"
            assert r.stats().losses == 1
            await assert_not_cancelled()

    @virtual
    async def test_a_driver_that_does_not_retry_is_interrupted_by_the_loss(self) -> None:
        connector = ScriptedConnector([Accept(lasts=1)])
        connector.client = object()
        async with supervise(connector) as r:
            with pytest.raises(IndeterminateError):
                await r.run(lambda _: forever())
            assert now() == 1.0


class TestGuard:
    @virtual
    async def test_it_hands_out_the_client(self) -> None:
        async with supervise(ScriptedConnector()) as r:
            async with r.guard() as client:
                assert client is r.client
            assert r._engine.calls == {}

    @virtual
    async def test_while_down_it_is_not_entered(self) -> None:
        async with supervise(ScriptedConnector([REFUSED])) as r:
            with pytest.raises(NotConnected, match=r"next attempt in 1\.0 s"):
                async with r.guard():
                    pytest.fail("entered")

    @virtual
    async def test_an_error_that_is_no_loss_comes_through_unchanged(self) -> None:
        error = KeyError("mine")
        async with supervise(ScriptedConnector()) as r:
            with pytest.raises(KeyError) as caught:
                async with r.guard():
                    raise error
            assert caught.value is error
            assert r.is_connected

    @virtual
    async def test_a_loss_in_the_block_ends_it_as_indeterminate(self) -> None:
        async with supervise(ScriptedConnector([Accept(lasts=2)])) as r:
            with pytest.raises(IndeterminateError):
                async with r.guard():
                    await forever()
            assert now() == 2.0
            await assert_not_cancelled()
            assert r._engine.calls == {}

    @virtual
    async def test_an_error_that_proves_the_loss_tears_down(self) -> None:
        error = ConnectionResetError(104, "x")
        async with supervise(ScriptedConnector()) as r:
            with pytest.raises(IndeterminateError) as caught:
                async with r.guard():
                    raise error
            assert caught.value.__cause__ is error
            assert r.status is Status.RECONNECTING

    @virtual
    async def test_a_block_that_swallows_the_cancellation_ends_well(self) -> None:
        async with supervise(ScriptedConnector([Accept(lasts=2)])) as r:
            async with r.guard():
                with contextlib.suppress(asyncio.CancelledError):
                    await forever()
            await assert_not_cancelled()

    @virtual
    async def test_a_loss_told_inside_the_block_leaves_no_cancellation_behind(self) -> None:
        async with supervise(ScriptedConnector()) as r:
            async with r.guard() as client:
                client.lose()
            await assert_not_cancelled()
            await r.wait_connected()
            with pytest.raises(IndeterminateError):
                async with r.guard() as client:
                    client.lose()
                    raise ConnectionResetError(104, "x")
            await assert_not_cancelled()

    @pytest.mark.parametrize("loss_first", [True, False])
    @virtual
    async def test_the_users_own_cancellation_comes_through_even_in_the_moment_of_the_loss(
        self, loss_first: bool
    ) -> None:
        connector = ScriptedConnector()
        async with supervise(connector) as r:

            async def body() -> None:
                async with r.guard():
                    await forever()

            task = asyncio.create_task(body())
            await settle()
            if loss_first:
                connector.opened[0].lose()
            task.cancel()
            if not loss_first:
                connector.opened[0].lose()
            await asyncio.wait({task})
            assert task.cancelled()

    @virtual
    async def test_it_can_be_entered_once(self) -> None:
        async with supervise(ScriptedConnector()) as r:
            guard = r.guard()
            async with guard:
                pass
            with pytest.raises(UsageError, match=r"call guard\(\) for each use"):
                async with guard:
                    pass
            assert r._engine.calls == {}

    @virtual
    async def test_a_client_without_an_owner_is_not_there_while_down(self) -> None:
        async with supervise(ScriptedConnector([Accept(lasts=1)])) as r:
            assert r.client.generation == 1
            await asyncio.sleep(1.5)
            with pytest.raises(NotConnected, match="reconnecting"):
                _ = r.client


@virtual
async def test_a_zero_timeout_is_a_try() -> None:
    async with supervise(ScriptedConnector([REFUSED]), retry_interval=fixed_interval(1)) as r:
        with pytest.raises(TimeoutError):
            await r.run(lambda c: c, timeout=0)
        assert now() == 0.0
        await r.wait_connected()
        assert await r.run(lambda c: c.generation, timeout=0) == 2


@virtual
async def test_a_loss_noticed_by_the_probe_of_a_broken_call_is_repeated_on_the_next_connection() -> None:
    """A pool: the call breaks, the probe finds the server gone, the next connection gets the repetition."""
    connector = Misbehaving()
    connector.client = object()
    seen: list[int] = []

    async def operation(_: Any) -> int:
        seen.append(r.generation)
        if r.generation == 1:
            connector.opened[0].die()
            raise ConnectionResetError(104, "x")
        return r.generation

    async with supervise(connector) as r:
        assert await r.run(operation, idempotent=True) == 2
        assert seen == [1, 2]
