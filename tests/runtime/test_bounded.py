"""A deadline whose verdict neither waits for the coroutine nor blames a peer for our own lateness."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from tests.runtime.support import Notes, forever, now, settle, stall, stubborn, timers, virtual
from tether.runtime.bounded import Bounded


class Watched:
    """A bounded coroutine, and what was told about it."""

    def __init__(self, coro: Coroutine[Any, Any, Any], timeout: float) -> None:
        self.done, self.late, self.stalls = Notes(), Notes(), Notes()
        self.bounded: Bounded[Any] = Bounded(
            coro,
            timeout,
            lambda result, error: self.done(result, type(error), now()),
            lambda result: self.late(result, now()),
            self.stalls,
        )


async def take(seconds: float, result: Any = "result") -> Any:
    await asyncio.sleep(seconds)
    return result


@virtual
async def test_a_result_in_time_is_told_once_and_the_timer_is_gone() -> None:
    watched = Watched(take(1), 2)
    await asyncio.sleep(1.5)
    assert watched.done == [("result", type(None), 1.0)]
    assert timers() == []
    await asyncio.sleep(10)
    assert (len(watched.done), watched.late, watched.stalls) == (1, [], [])


@virtual
async def test_an_error_in_time_is_told_as_it_is() -> None:
    async def fail() -> None:
        await asyncio.sleep(1)
        raise KeyError

    watched = Watched(fail(), 2)
    await asyncio.sleep(10)
    assert watched.done == [(None, KeyError, 1.0)]
    assert timers() == []


@virtual
async def test_at_the_deadline_the_verdict_is_a_timeout_that_says_how_long_it_was() -> None:
    errors = Notes()
    Bounded(take(99), 1.5, lambda _, error: errors(str(error)), print, print)
    await asyncio.sleep(1.5)
    await settle()
    assert errors == ["no answer within 1.5s"]


@virtual
async def test_the_verdict_does_not_wait_for_a_task_that_hangs_in_its_cancellation() -> None:
    watched = Watched(stubborn(50)(), 2)  # type: ignore[arg-type]
    await asyncio.sleep(3)
    assert watched.done == [(None, TimeoutError, 2.0)]
    assert not watched.bounded.task.done()
    await asyncio.sleep(60)
    assert len(watched.done) == 1


@virtual
async def test_a_result_after_the_verdict_is_handed_over_as_late() -> None:
    async def swallow() -> str:
        try:
            await forever()
        except asyncio.CancelledError:
            await asyncio.sleep(5)
        return "late"

    watched = Watched(swallow(), 2)
    await asyncio.sleep(10)
    assert (watched.done, watched.late) == ([(None, TimeoutError, 2.0)], [("late", 7.0)])


@virtual
async def test_an_error_after_the_verdict_is_swallowed() -> None:
    async def swallow() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            raise ValueError("while dying") from None

    watched = Watched(swallow(), 2)
    await asyncio.sleep(10)
    assert (watched.done, watched.late) == ([(None, TimeoutError, 2.0)], [])


@virtual
async def test_cancelled_it_tells_nothing_but_a_late_result() -> None:
    watched = Watched(take(1), 2)
    await asyncio.sleep(0.5)
    watched.bounded.cancel()
    await asyncio.sleep(10)
    assert (watched.done, watched.late, watched.bounded.task.cancelled()) == ([], [], True)
    assert timers() == []

    finished = Watched(take(0), 2)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert finished.bounded.task.done()
    finished.bounded.cancel()  # before its outcome was told
    await settle()
    assert (finished.done, [result for result, _ in finished.late]) == ([], ["result"])


@virtual
async def test_a_task_cancelled_by_somebody_else_is_an_error_like_any_other() -> None:
    watched = Watched(take(9), 20)
    await asyncio.sleep(1)
    watched.bounded.task.cancel()
    await asyncio.sleep(30)
    assert [(result, error) for result, error, _ in watched.done] == [(None, asyncio.CancelledError)]


@virtual
async def test_a_result_that_is_there_when_the_deadline_goes_off_counts() -> None:
    loop = asyncio.get_running_loop()
    answer = loop.create_future()

    def answer_just_in_time() -> None:
        answer.set_result("just in time")
        stall(0.02)  # the task ends in the same round in which the deadline goes off

    loop.call_at(1.99, answer_just_in_time)

    async def wait() -> Any:
        return await answer

    watched = Watched(wait(), 2)
    await asyncio.sleep(10)
    assert watched.done == [("just in time", type(None), 2.01)]


@pytest.mark.parametrize("stalled", [1.5, 2.0, 2.05, 2.19, 2.5, 4.0, 1000.0])
@virtual
async def test_a_stall_extends_the_deadline_until_the_answer_has_had_its_time(stalled: float) -> None:
    watched = Watched(take(1.9), 2)
    await settle()
    stall(stalled)
    await asyncio.sleep(10)
    (outcome,) = watched.done
    assert outcome[:2] == ("result", type(None))


@pytest.mark.parametrize("stalled", [0.5, 1.9, 2.5, 1000.0])
@virtual
async def test_after_a_stall_a_task_that_hangs_is_still_ended(stalled: float) -> None:
    watched = Watched(forever(), 2)
    await settle()
    stall(stalled)
    await asyncio.sleep(10)
    ((_, error, at),) = watched.done
    assert error is TimeoutError
    assert at <= stalled + 2 + 2


@virtual
async def test_a_stall_beyond_the_deadline_is_told() -> None:
    watched = Watched(take(1.9), 2)
    await settle()
    stall(12)
    await asyncio.sleep(10)
    assert len(watched.stalls) >= 1
    assert sum(watched.stalls) == pytest.approx(10, abs=2)


@virtual
async def test_a_loop_that_is_a_little_late_is_no_stall() -> None:
    watched = Watched(forever(), 2)
    asyncio.get_running_loop().call_at(1.99, stall, 0.03)
    await asyncio.sleep(10)
    assert watched.stalls == []
    ((_, error, at),) = watched.done
    assert error is TimeoutError
    assert at <= 2.3


@virtual
async def test_an_exception_that_nobody_asks_for_is_never_reported_as_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail() -> None:
        raise KeyError

    watched = Watched(fail(), 2)
    watched.bounded.cancel()
    await settle()
    failed = Watched(fail(), 2)
    await settle()
    del watched, failed
    await settle()
    assert caplog.records == []
