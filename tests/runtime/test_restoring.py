"""What was on the connection: restored before ``connected``, and what could not be is tried again."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.runtime.support import (
    REFUSED,
    Misbehaving,
    Notes,
    forever,
    now,
    settle,
    stall,
    stubborn,
    supervise,
    virtual,
)
from tether import Status
from tether.backoff import exponential_backoff, fixed_interval
from tether.core.cause import Code, Phase
from tether.core.events import Kind
from tether.testing.scripted import Accept, ScriptedConnection, ScriptedConnector


def restoring(*answers: Any) -> tuple[Misbehaving, list[float]]:
    """Return a connector whose restores end as told, one after the other (then well), and the times of them."""
    times: list[float] = []
    left = list(answers)

    async def restore(_: ScriptedConnection) -> Any:
        times.append(now())
        answer = left.pop(0) if left else ()
        if isinstance(answer, BaseException):
            raise answer
        return await answer() if callable(answer) else answer

    return Misbehaving(restore=restore), times


class TestDegraded:
    @virtual
    async def test_what_is_missing_makes_it_degraded_and_is_retried_with_backoff_until_it_is_there(
        self,
    ) -> None:
        notes = Notes()
        connector, times = restoring(["orders"], ["orders"], ["orders"], ["orders"])
        async with supervise(
            connector, retry_interval=exponential_backoff(1, 2), subscribers=[notes], health_check=False
        ) as r:
            assert (r.is_connected, r.stats().degraded) == (True, True)  # the others are back
            await asyncio.sleep(14)
            assert r.stats().degraded
            await asyncio.sleep(2)
            assert (r.is_connected, r.stats().degraded) == (True, False)
            await asyncio.sleep(1000)
        assert times == [0.0, 1.0, 3.0, 7.0, 15.0]
        assert notes.kinds == [
            Kind.STARTED,
            Kind.ATTEMPT_STARTED,
            Kind.CONNECTED,
            Kind.DEGRADED,
            Kind.RECOVERED,
            Kind.STOPPED,
        ]
        assert len(connector.dials) == 1

    @virtual
    async def test_one_bad_item_never_makes_a_busy_loop_even_without_a_backoff(self) -> None:
        connector, times = restoring(*[["orders"]] * 100_000)
        async with supervise(connector, retry_interval=fixed_interval(0)):
            await asyncio.sleep(10)
        assert len(times) <= 1001

    @virtual
    async def test_a_retry_that_raises_what_is_no_loss_is_retried_too(self) -> None:
        connector, times = restoring(["orders"], KeyError("not yet"))
        async with supervise(connector) as r:
            await asyncio.sleep(2.5)
            assert (times, r.stats().degraded, r.stats().losses) == ([0.0, 1.0, 2.0], False, 0)

    @virtual
    async def test_a_retry_that_finds_the_connection_dead_is_a_loss(self) -> None:
        connector, _ = restoring(["orders"], ConnectionResetError(104, "x"))
        async with supervise(connector) as r:
            await asyncio.sleep(1.5)
            cause = r.stats().cause
            assert cause is not None
            assert (r.status, cause.code, cause.phase) == (Status.RECONNECTING, Code.RESET, Phase.RESTORE)
            assert not r.stats().degraded
            await r.wait_connected(2)

    @virtual
    async def test_a_retry_that_hangs_is_a_loss_in_time(self) -> None:
        connector, _ = restoring(["orders"], forever)
        async with supervise(connector, connect_timeout=3, health_check=False) as r:
            await asyncio.sleep(3.9)
            assert r.is_connected
            await asyncio.sleep(0.2)
            assert r.status is Status.RECONNECTING

    @virtual
    async def test_a_retry_that_hangs_because_our_own_loop_did_is_no_loss(self) -> None:
        async def slow() -> tuple[str, ...]:
            await asyncio.sleep(1)
            return ()

        connector, _ = restoring(["orders"], slow)
        async with supervise(connector, connect_timeout=3, health_check=False) as r:
            asyncio.get_running_loop().call_at(1.5, stall, 60.0)
            await asyncio.sleep(70)
            assert (r.stats().losses, r.stats().degraded) == (0, False)

    @virtual
    async def test_after_a_loss_the_old_retry_is_forgotten(self) -> None:
        connector, times = restoring(["orders"])
        connector._script = iter([Accept(lasts=2), REFUSED, REFUSED])
        async with supervise(connector, retry_interval=fixed_interval(10)) as r:
            await asyncio.sleep(100)
            assert (times, r.stats().degraded) == ([0.0, 32.0], False)

    @virtual
    async def test_a_retry_under_way_at_the_loss_is_cancelled_and_its_late_answer_ignored(self) -> None:
        connector, times = restoring(["orders"], stubborn(20))
        async with supervise(connector, health_check=False) as r:
            await asyncio.sleep(1.5)
            connector.opened[0].lose()
            await asyncio.sleep(1.5)
            assert (r.is_connected, r.generation, r.stats().degraded) == (True, 2, False)
            await asyncio.sleep(100)
            assert (r.stats().losses, times) == (1, [0.0, 1.0, 2.5])

    @virtual
    async def test_a_new_connection_counts_its_own_retries(self) -> None:
        connector, times = restoring(["a"], ["a"], ["a"], ["a"])
        connector._script = iter([Accept(lasts=5)])
        async with supervise(connector, retry_interval=exponential_backoff(1, 2), stable_after=1):
            await asyncio.sleep(30)
        # Retried after 1 and 2 s; lost at 5 and dialled again at 6, where the retries begin at 1 s again.
        assert times == [0.0, 1.0, 3.0, 6.0, 7.0]

    @virtual
    async def test_degraded_is_cleared_by_the_loss(self) -> None:
        connector, _ = restoring(["a"], *[["a"]] * 100)
        async with supervise(connector, retry_interval=fixed_interval(50)) as r:
            connector.opened[0].lose()
            assert not r.stats().degraded


class TestOldGenerations:
    @virtual
    async def test_a_late_error_of_the_old_connection_does_not_kill_the_new_one(self) -> None:
        notes = Notes()
        connector = ScriptedConnector([Accept(lasts=1)])
        r = supervise(connector, subscribers=[notes])
        r.on_disconnect(notes)
        async with r:
            await r.wait_connected()
            await asyncio.sleep(2.5)
            old, new = connector.opened
            for _ in range(5):
                old.lose(ConnectionResetError(104, "late"))
            await asyncio.sleep(100)
            assert (r.is_connected, new.closed, r.generation, r.stats().losses) == (True, False, 2, 1)
            assert notes.kinds.count(Kind.EVIDENCE) == 5
            assert r.last_error is not None
            assert "late" not in str(r.last_error)

    @virtual
    async def test_a_late_error_of_a_failed_dial_does_not_kill_the_next_dial(self) -> None:
        async def restore(connection: ScriptedConnection) -> None:
            if connector.restores == 1:
                raise KeyError(connection.generation)
            await asyncio.sleep(1)

        connector = Misbehaving(restore=restore)
        async with supervise(connector) as r:
            await asyncio.sleep(1.5)  # the second dial is under way
            connector.opened[0].lose()
            await r.wait_connected()
            assert (now(), len(connector.dials)) == (2.0, 2)

    @virtual
    async def test_every_restore_runs_on_the_connection_of_its_own_dial(self) -> None:
        pairs: list[tuple[int, int]] = []

        async def restore(connection: ScriptedConnection) -> None:
            pairs.append((connection.generation, r.generation))

        connector = Misbehaving([Accept(lasts=1)] * 3, restore=restore)
        r = supervise(connector)
        async with r:
            await asyncio.sleep(20)
            await settle()
        assert pairs == [(1, 1), (2, 2), (3, 3), (4, 4)]
