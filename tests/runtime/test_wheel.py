"""The timer wheel: never late, at most a tick early, one loop timer for ten thousand."""

from __future__ import annotations

import asyncio
import logging
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runtime.support import Notes, now, settle, stall, timers, virtual
from tether.runtime.wheel import EXACT_BELOW, TICK, Timer, TimerWheel, wheel_of
from tether.testing.clock import run_virtual


def wheel() -> TimerWheel:
    return wheel_of(asyncio.get_running_loop())


@given(
    start=st.floats(0, 1e6),
    delays=st.lists(
        st.one_of(st.floats(0, 3), st.floats(0, 100), st.floats(0, 1e5)), min_size=1, max_size=20
    ),
    pauses=st.lists(st.floats(0, 5), min_size=20, max_size=20),
)
@settings(deadline=None, max_examples=80)
def test_a_timer_is_never_late_at_most_a_tick_early_and_goes_off_once(
    start: float, delays: list[float], pauses: list[float]
) -> None:
    async def main() -> list[tuple[float, float, float]]:
        fired: list[tuple[float, float, float]] = []
        for delay, pause in zip(delays, pauses, strict=False):
            due = now() + delay
            wheel().call_later(delay, lambda due=due, delay=delay: fired.append((due, now(), delay)))
            await asyncio.sleep(pause)
        await asyncio.sleep(max(delays) + 1)
        return fired

    fired = run_virtual(main(), start=start)
    assert len(fired) == len(delays)
    for due, at, delay in fired:
        rounding = 1e-9 * (1 + due)
        assert at <= due + rounding
        assert at >= due - TICK - rounding
        if delay < EXACT_BELOW:
            assert at == pytest.approx(due, abs=rounding)


@pytest.mark.parametrize("delay", [0.0, 0.1, 1.3, EXACT_BELOW - 1e-6])
@virtual
async def test_a_short_timer_is_exact(delay: float) -> None:
    notes = Notes()
    await asyncio.sleep(0.123)
    due = now() + delay
    wheel().call_later(delay, lambda: notes(now()))
    await asyncio.sleep(10)
    assert notes == [due]


@virtual
async def test_long_timers_that_fall_into_one_tick_share_it() -> None:
    notes = Notes()
    for delay in (5.01, 5.1, 5.24):
        wheel().call_later(delay, lambda: notes(now()))
    await asyncio.sleep(10)
    assert notes == [5.0, 5.0, 5.0]


@virtual
async def test_the_callback_gets_its_arguments() -> None:
    notes = Notes()
    wheel().call_later(1, notes, "short", 1)
    wheel().call_later(5, notes, "long", 2)
    await asyncio.sleep(10)
    assert notes == [("short", 1), ("long", 2)]


@pytest.mark.parametrize("delay", [1.0, 5.0])
@virtual
async def test_a_cancelled_timer_does_not_go_off_and_cancelling_is_idempotent(delay: float) -> None:
    notes = Notes()
    timer = wheel().call_later(delay, notes, "fired")
    other = wheel().call_later(delay, notes, "other")
    await asyncio.sleep(delay / 2)
    timer.cancel()
    timer.cancel()
    await asyncio.sleep(10)
    assert notes == ["other"]
    other.cancel()  # after it went off: legal, too


@virtual
async def test_a_timer_may_cancel_another_of_the_same_tick() -> None:
    notes = Notes()
    pair: list[Timer] = []
    pair.append(wheel().call_later(5, lambda: pair[1].cancel()))  # noqa: PLW0108 - not there yet
    pair.append(wheel().call_later(5, notes, "fired"))
    await asyncio.sleep(10)
    assert notes == []


@virtual
async def test_a_timer_may_start_another_from_its_callback() -> None:
    notes = Notes()

    def again() -> None:
        notes(now())
        if len(notes) < 4:
            wheel().call_later(10, again)

    wheel().call_later(10, again)
    await asyncio.sleep(100)
    assert notes == [10.0, 20.0, 30.0, 40.0]


@virtual
async def test_ten_thousand_timers_are_one_timer_of_the_loop() -> None:
    rng = random.Random(3)
    before, notes = len(timers()), Notes()
    for number in range(10_000):
        wheel().call_later(rng.uniform(EXACT_BELOW, 60), notes, number)
    assert len(timers()) == before + 1
    await asyncio.sleep(61)
    assert sorted(notes) == list(range(10_000))
    assert len(timers()) == before


@virtual
async def test_an_earlier_timer_is_not_held_up_by_a_later_one() -> None:
    notes = Notes()
    for delay in (50, 20, 90, 20, 3):
        wheel().call_later(delay, lambda: notes(now()))
    await asyncio.sleep(100)
    assert notes == [3.0, 20.0, 20.0, 50.0, 90.0]


@virtual
async def test_a_callback_that_raises_is_logged_and_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    notes = Notes()
    wheel().call_later(5, divmod, 1, 0)
    wheel().call_later(5, notes, "same tick")
    wheel().call_later(9, notes, "later")
    await asyncio.sleep(20)
    assert notes == ["same tick", "later"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "ZeroDivisionError" in caplog.text


@virtual
async def test_after_a_stall_everything_overdue_goes_off_in_order() -> None:
    notes = Notes()
    for delay in (5, 7, 12, 30):
        wheel().call_later(delay, notes, delay)
    stall(20)
    await settle()
    assert (notes, now()) == ([5, 7, 12], 20.0)
    await asyncio.sleep(20)
    assert notes == [5, 7, 12, 30]


@virtual
async def test_cancelled_timers_do_not_pile_up() -> None:
    for _ in range(10_000):
        wheel().call_later(3600, print).cancel()
    assert len(wheel()) == 0
    assert timers() == []


@virtual
async def test_a_loop_has_one_wheel() -> None:
    assert wheel() is wheel()


def test_another_loop_has_another_wheel() -> None:
    async def main() -> object:
        return wheel()

    assert run_virtual(main()) is not run_virtual(main())
