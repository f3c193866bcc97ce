"""What the simulation has found: the shortest schedule of each, kept for good."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.runtime.support import virtual
from tests.simulation.runner import play
from tests.simulation.schedule import Options, Schedule, Step
from tether import Reconnector
from tether.backoff import fixed_interval
from tether.core.events import Kind, ReconnectEvent
from tether.testing.scripted import ScriptedConnector

IN_MID_STOP = Schedule(
    seed=107,
    heals=False,
    options=(Options(timeout=2.0, stable_after=0.0),),
    steps=(
        Step(0.0, "start all"),
        Step(1.0, "stop", 0, (None,)),
        Step(1.0, "polite"),
        Step(1.0, "next loop"),
        Step(2.0, "stop", 0, (None,)),
    ),
)
DOWN_AFTER_MID_STOP = Schedule(
    seed=451,
    heals=False,
    options=(Options(),),
    steps=(
        Step(0.0, "start all"),
        Step(1.0, "stop", 0, (None,)),
        Step(1.0, "crash"),
        Step(1.0, "next loop"),
        Step(2.0, "polite"),
    ),
)
LOST_WHILE_ABANDONED = Schedule(
    seed=1465,
    heals=False,
    options=(Options(),),
    steps=(
        Step(0.0, "start all"),
        Step(1.0, "manner", 0, ("lost in abort", 0.5)),
        Step(2.0, "pause"),
        Step(2.0, "next loop"),
    ),
)
HINTED = Schedule(
    seed=1963,
    heals=False,
    options=(Options(max_retries=0),),
    steps=(
        Step(0.0, "start all"),
        Step(1.0, "loading", 0, (15.0,)),
        Step(2.0, "network"),
    ),
)


@pytest.mark.xfail(
    strict=True, reason="a goodbye that the end of its loop cuts off leaves the connection open"
)
def test_a_loop_that_ends_in_mid_stop_leaves_nothing_open() -> None:
    assert play(IN_MID_STOP).detail == ""


@pytest.mark.xfail(strict=True, reason="stop() waits for a goodbye of a loop that is gone: RuntimeError")
def test_a_loop_that_ends_in_mid_stop_does_not_break_the_next_stop() -> None:
    assert play(DOWN_AFTER_MID_STOP).detail == ""


@pytest.mark.xfail(
    strict=True, reason="abandon_dead_loop() drops the handle while the old life still listens to it"
)
def test_what_a_driver_says_while_a_dead_loop_is_abandoned_is_no_loss() -> None:
    assert play(LOST_WHILE_ABANDONED).detail == ""


@pytest.mark.xfail(strict=True, reason="_revive() dials at once, whatever the peer's hint says")
def test_news_of_the_network_do_not_revive_before_the_hint() -> None:
    assert play(HINTED).detail == ""


@pytest.mark.xfail(
    strict=True, reason="callbacks come before subscribers, and tell of a drop inside of the event"
)
@virtual
async def test_a_drop_is_told_after_the_event_that_did_not_fit() -> None:
    kinds: list[Kind] = []

    def heard(event: ReconnectEvent) -> None:
        kinds.append(event.kind)

    r: Reconnector[object] = Reconnector(
        ScriptedConnector(then=ConnectionRefusedError),
        retry_interval=fixed_interval(0.01),
        subscribers=[heard],
        logger=logging.getLogger("tests.quiet"),
    )

    @r.on_reconnect_failed
    async def hang(*_: object) -> None:
        await asyncio.get_running_loop().create_future()

    await r.start()
    await asyncio.sleep(3)
    await r.stop()
    first = kinds.index(Kind.DROPPED)
    assert kinds[first - 1] is Kind.ATTEMPT_FAILED
