"""How often and when it tries again, when it gives up, and what revives it."""

from __future__ import annotations

import asyncio
import math
import random
from typing import Any

import pytest

from tests.runtime.support import (
    REFUSED,
    Chance,
    Misbehaving,
    Notes,
    now,
    settle,
    stall,
    supervise,
    virtual,
)
from tether import ConfigError, NotConnected, RetryHint, Status, UsageError
from tether.backoff import exponential_backoff, fixed_interval, grpc_backoff, linear_backoff
from tether.core.cause import Cause, Code
from tether.core.events import Kind
from tether.testing.scripted import Accept, Hang, ScriptedConnection, ScriptedConnector


def pauses(connector: ScriptedConnector) -> list[float]:
    """Return the seconds between one dial and the next."""
    return [later - earlier for earlier, later in zip(connector.dials, connector.dials[1:], strict=False)]


class Busy(Exception):
    """What a scripted server says when it is overloaded."""


def busy_until(when: float | None) -> Any:
    hint = None if when is None else RetryHint(when)
    return lambda error, phase: (
        Cause(Code.OVERLOADED, phase, error, hint) if isinstance(error, Busy) else None
    )


class TestCounting:
    @virtual
    async def test_on_disconnect_is_called_once_per_loss_and_not_per_failed_dial(self) -> None:
        notes = Notes()
        connector = ScriptedConnector([Accept(lasts=5), REFUSED, REFUSED, REFUSED, Accept(lasts=5), REFUSED])
        async with supervise(connector) as r:
            r.on_disconnect(notes)
            await asyncio.sleep(60)
            assert len(notes) == 2
            assert all(isinstance(error, ConnectionResetError) for error in notes)

    @virtual
    async def test_failed_attempts_are_told_with_their_error_and_a_count_from_one(self) -> None:
        notes = Notes()
        errors = [ConnectionRefusedError(111, "a"), TimeoutError("b"), OSError(113, "c")]
        r = supervise(ScriptedConnector([*errors, Accept(lasts=5), REFUSED]))
        r.on_reconnect_failed(notes)
        async with r:
            await asyncio.sleep(30)
        assert [(type(error), count) for error, count in notes] == [
            (ConnectionRefusedError, 1),
            (TimeoutError, 2),
            (OSError, 3),
            (ConnectionRefusedError, 1),
        ]
        assert [error for error, _ in notes[:3]] == errors

    @virtual
    async def test_the_count_is_cleared_by_connected(self) -> None:
        async with supervise(ScriptedConnector([REFUSED, REFUSED, Accept()])) as r:
            await asyncio.sleep(1.5)
            assert r.retry_count == 2
            await asyncio.sleep(1)
            assert (r.retry_count, r.is_connected) == (0, True)


class TestDelays:
    @virtual
    async def test_the_backoff_is_asked_with_a_count_from_zero(self) -> None:
        asked: list[int] = []

        def backoff(retry_count: int) -> float:
            asked.append(retry_count)
            return 1.0

        r = supervise(ScriptedConnector([REFUSED] * 4), retry_interval=backoff)
        asked.clear()  # the constructor tries it out
        async with r:
            await r.wait_connected()
        assert asked == [0, 1, 2, 3]

    @virtual
    async def test_after_a_stable_connection_the_first_dial_is_quick_and_then_intervals_begin_at_the_first(
        self,
    ) -> None:
        connector = ScriptedConnector([Accept(lasts=10), REFUSED, REFUSED, REFUSED])
        async with supervise(
            connector, retry_interval=linear_backoff(1), quick_first_retry=True, rng=Chance(0.5)
        ) as r:
            await asyncio.sleep(60)
            assert pauses(connector) == [pytest.approx(10.05), 1.0, 2.0, pytest.approx(3.0)]
            assert r.is_connected

    @virtual
    async def test_the_quick_first_dial_is_never_slower_than_the_backoff(self) -> None:
        connector = ScriptedConnector([Accept(lasts=10)])
        async with supervise(
            connector, retry_interval=fixed_interval(0.01), quick_first_retry=True, rng=Chance(1.0)
        ):
            await asyncio.sleep(60)
            assert pauses(connector) == [pytest.approx(10.01)]

    @virtual
    async def test_after_an_unstable_connection_there_is_no_quick_first_dial(self) -> None:
        connector = ScriptedConnector([Accept(lasts=9)])
        async with supervise(connector, quick_first_retry=True):
            await asyncio.sleep(60)
            assert pauses(connector) == [10.0]

    @virtual
    async def test_a_backoff_measured_from_the_start_of_the_attempt_is_eaten_by_a_slow_failure(self) -> None:
        connector = ScriptedConnector([Hang(), REFUSED])
        backoff = grpc_backoff(random=Chance(0.5))  # 1 s, 1.6 s, ...
        async with supervise(connector, retry_interval=backoff, connect_timeout=0.75) as r:
            await r.wait_connected()
            assert connector.dials == [0.0, 1.0, pytest.approx(2.6)]

    @virtual
    async def test_an_overloaded_server_is_not_asked_before_it_said_and_uses_up_no_attempt(self) -> None:
        connector = ScriptedConnector([Busy()] * 3 + [REFUSED])
        async with supervise(
            connector, rules=[busy_until(40.0)], max_retries=1, retry_interval=fixed_interval(2)
        ) as r:
            assert r.stats().next_attempt_in == 40.0 + 0.5 * 10  # h + U[0, h/4]
            await r.wait_connected()
            assert connector.dials[1:] == [45.0, 47.0, 49.0, 51.0]  # a hint that is over is none

    @virtual
    async def test_an_overloaded_server_without_a_hint_is_asked_at_the_configured_interval(self) -> None:
        connector = ScriptedConnector([Busy()] * 4)
        async with supervise(connector, rules=[busy_until(None)], max_retries=0) as r:
            await r.wait_connected()
            assert connector.dials == [0.0, 1.0, 2.0, 3.0, 4.0]

    @virtual
    async def test_a_users_backoff_that_breaks_later_does_not_stop_the_healing(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        def backoff(retry_count: int) -> float:
            if retry_count == 3:
                raise ZeroDivisionError
            return [0.5, math.nan, -3.0][retry_count]

        connector = ScriptedConnector([REFUSED] * 4)
        async with supervise(connector, retry_interval=backoff, logger=None) as r:
            await r.wait_connected()
            assert connector.dials == [0.0, 0.5, 1.5, 2.5, 3.5]
        assert "the backoff answered nan at retry_count 1" in caplog.text
        assert "the backoff failed at retry_count 3" in caplog.text


class TestFlapping:
    @virtual
    async def test_a_server_that_accepts_and_drops_sees_ever_longer_pauses(self) -> None:
        connector = ScriptedConnector(then=Accept(lasts=0.1))
        async with supervise(connector, retry_interval=exponential_backoff(1, 2, maximum=60)):
            await asyncio.sleep(200)
            assert pauses(connector)[:7] == [pytest.approx(0.1 + delay) for delay in (1, 2, 4, 8, 16, 32, 60)]
            assert len(connector.dials) <= 9

    @virtual
    async def test_the_backoff_is_forgotten_only_after_the_connection_was_stable(self) -> None:
        connector = ScriptedConnector(
            [*[Accept(lasts=1)] * 3, Accept(lasts=9.5), Accept(lasts=10), Accept(lasts=1), Accept()]
        )
        async with supervise(connector, retry_interval=exponential_backoff(1, 2), stable_after=10) as r:
            await r.wait_connected()
            await asyncio.sleep(200)
            assert pauses(connector) == [1 + 1, 1 + 2, 1 + 4, 9.5 + 8, 10 + 1, 1 + 2]

    @virtual
    async def test_a_forced_reconnect_after_a_stable_connection_begins_the_intervals_anew(self) -> None:
        connector = ScriptedConnector([*[Accept(lasts=1)] * 3, Accept(), REFUSED, REFUSED])
        async with supervise(connector, retry_interval=exponential_backoff(1, 2)) as r:
            await asyncio.sleep(40)
            assert pauses(connector) == [2, 3, 5]
            assert await r.reconnect() is False
            await r.wait_connected()
            assert pauses(connector)[-2:] == [1, 2]

    @virtual
    async def test_a_forced_reconnect_of_an_unstable_connection_lets_them_grow_on(self) -> None:
        connector = ScriptedConnector([*[Accept(lasts=1)] * 3, Accept(), REFUSED, REFUSED])
        async with supervise(connector, retry_interval=exponential_backoff(1, 2)) as r:
            await asyncio.sleep(11)  # connected again since 10.0
            assert await r.reconnect() is False
            await r.wait_connected()
            assert pauses(connector)[-2:] == [8, 16]

    @virtual
    async def test_a_flapping_connection_says_so_until_it_has_been_stable(self) -> None:
        connector = ScriptedConnector([*[Accept(lasts=1)] * 3, Accept()])
        async with supervise(connector) as r:
            await asyncio.sleep(3.5)
            assert not r.stats().flapping
            await asyncio.sleep(2)
            assert (r.stats().flapping, r.stats().losses) == (True, 3)
            await asyncio.sleep(5)
            assert (r.is_connected, r.stats().flapping) == (True, True)
            await asyncio.sleep(10)
            assert not r.stats().flapping


class TestGivingUp:
    @virtual
    async def test_a_first_start_has_one_attempt_more_than_max_retries(self) -> None:
        notes = Notes()
        connector = ScriptedConnector(then=REFUSED)
        r = supervise(connector, max_retries=3, subscribers=[notes])
        r.on_give_up(lambda error, count: notes(type(error), count))
        async with r:
            await asyncio.sleep(100)
            assert (r.status, connector.dials) == (Status.FAILED, [0.0, 1.0, 2.0, 3.0])
            assert notes.kinds.count(Kind.GAVE_UP) == 1
            assert notes[-1] == (REFUSED, 4)
            assert r.stats().next_attempt_in is None

    @virtual
    async def test_after_a_loss_max_retries_attempts_are_made(self) -> None:
        notes = Notes()
        connector = ScriptedConnector([Accept(lasts=2)], then=REFUSED)
        r = supervise(connector, max_retries=2)
        r.on_give_up(lambda _, count: notes("on_give_up", count))
        r.on_reconnect_failed(lambda _, count: notes("on_reconnect_failed", count))
        async with r:
            await asyncio.sleep(100)
            assert connector.dials == [0.0, 3.0, 4.0]
            assert notes == [("on_reconnect_failed", 1), ("on_reconnect_failed", 2), ("on_give_up", 2)]

    @virtual
    async def test_zero_retries_gives_up_with_the_loss(self) -> None:
        notes = Notes()
        connector = ScriptedConnector([Accept(lasts=2)])
        r = supervise(connector, max_retries=0)
        r.on_give_up(lambda error, count: notes(type(error), count))
        async with r:
            await asyncio.sleep(100)
            assert (r.status, connector.dials, notes) == (
                Status.FAILED,
                [0.0],
                [(ConnectionResetError, 0)],
            )

    @virtual
    async def test_every_connection_brings_all_attempts_back(self) -> None:
        connector = ScriptedConnector([Accept(lasts=1), REFUSED, Accept(lasts=1), REFUSED, Accept()])
        async with supervise(connector, max_retries=2) as r:
            await asyncio.sleep(60)
            assert r.is_connected

    @virtual
    async def test_without_a_limit_it_never_gives_up(self) -> None:
        connector = ScriptedConnector([REFUSED] * 2000)
        async with supervise(connector) as r:
            await r.wait_connected()
            assert now() == 2000.0

    @virtual
    async def test_a_cause_that_asks_for_no_recovery_is_not_tried_again(self) -> None:
        connector = ScriptedConnector([KeyError("gone for good")])
        async with supervise(
            connector, rules=[lambda e, p: "closed" if isinstance(e, KeyError) else None]
        ) as r:
            await asyncio.sleep(60)
            assert (r.status, connector.dials) == (Status.FAILED, [0.0])

    @virtual
    async def test_a_peer_that_closes_for_good_ends_the_connection(self) -> None:
        notes = Notes()
        connector = ScriptedConnector()
        r = supervise(
            connector,
            rules=[lambda e, p: "closed" if isinstance(e, KeyError) else None],
            subscribers=[notes],
        )
        await r.start()
        connector.opened[0].lose(KeyError("bye"))
        await asyncio.sleep(60)
        assert (r.status, connector.dials, connector.live) == (Status.DISCONNECTED, [0.0], [])
        assert notes.kinds[-2:] == [Kind.LOST, Kind.STOPPED]
        await r.stop()
        await r.start()  # and can be started again
        assert r.is_connected
        await r.stop()


class TestReviving:
    @staticmethod
    async def _failed(connector: ScriptedConnector, **options: Any) -> Any:
        r = supervise(connector, max_retries=0, **options)
        await r.start()
        assert r.status is Status.FAILED
        await asyncio.sleep(10)
        return r

    @virtual
    async def test_reconnect_revives_what_was_given_up(self) -> None:
        connector = ScriptedConnector([REFUSED])
        r = await self._failed(connector)
        assert await r.reconnect() is True
        assert (r.is_connected, connector.dials) == (True, [0.0, 10.0])
        await r.stop()

    @virtual
    async def test_reconnect_that_fails_gives_up_again_and_tells_it_again(self) -> None:
        notes = Notes()
        connector = ScriptedConnector(then=REFUSED)
        r = await self._failed(connector)
        r.on_give_up(lambda _, count: notes(count))
        assert await r.reconnect() is False
        await settle()
        assert (r.status, connector.dials, notes) == (Status.FAILED, [0.0, 10.0], [2])
        await r.stop()

    @virtual
    async def test_a_network_change_revives_what_was_given_up(self) -> None:
        connector = ScriptedConnector([REFUSED])
        r = await self._failed(connector)
        r.network_changed()
        await settle()
        assert (r.is_connected, connector.dials) == (True, [0.0, 10.0])
        await r.stop()

    @virtual
    async def test_a_call_of_the_users_own_client_that_succeeds_revives_what_was_given_up(self) -> None:
        connector = ScriptedConnector([REFUSED])
        connector.client = client = object()
        r = await self._failed(connector)

        async def call(c: Any) -> Any:
            await asyncio.sleep(1)
            return c

        assert await r.run(call) is client
        await settle()
        assert (r.is_connected, connector.dials) == (True, [0.0, 11.0])
        await r.stop()

    @virtual
    async def test_a_call_with_a_deadline_revives_it_too(self) -> None:
        connector = ScriptedConnector([REFUSED])
        connector.client = object()
        r = await self._failed(connector)
        assert await r.run(lambda c: c, timeout=5) is connector.client
        await settle()
        assert r.is_connected
        await r.stop()

    @virtual
    async def test_a_call_that_fails_by_the_network_says_that_it_is_given_up_and_revives_nothing(
        self,
    ) -> None:
        connector = ScriptedConnector(then=REFUSED)
        connector.client = object()
        r = await self._failed(connector)

        reset = ConnectionResetError(104, "mine")

        def call(_: Any) -> None:
            raise reset

        with pytest.raises(NotConnected, match="db is failed") as caught:
            await r.run(call)
        assert caught.value.__cause__ is reset
        await settle()
        assert (r.status, connector.dials) == (Status.FAILED, [0.0])
        await r.stop()

    @virtual
    async def test_a_call_that_fails_by_itself_comes_through_and_revives_nothing(self) -> None:
        connector = ScriptedConnector(then=REFUSED)
        connector.client = object()
        r = await self._failed(connector)

        def call(_: Any) -> None:
            raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            await r.run(call)
        await settle()
        assert connector.dials == [0.0]
        await r.stop()

    @virtual
    async def test_without_a_client_of_the_users_own_a_call_cannot_find_out_and_is_refused(self) -> None:
        r = await self._failed(ScriptedConnector([REFUSED]))
        with pytest.raises(NotConnected, match=r"db is failed .*; call reconnect\(\) to try again"):
            await r.run(lambda c: c)
        assert r.status is Status.FAILED
        await r.stop()

    @virtual
    async def test_a_revived_connection_that_fails_once_more_goes_back_to_the_old_loss(self) -> None:
        connector = ScriptedConnector([Accept(lasts=1), REFUSED, REFUSED, REFUSED])
        r = supervise(connector, max_retries=2)
        await r.start()
        await asyncio.sleep(10)
        seen = [r.status, await r.reconnect(), r.status]
        assert seen == [Status.FAILED, False, Status.RECONNECTING]
        await r.wait_connected()
        assert connector.dials == [0.0, 2.0, 3.0, 10.0, 11.0]
        await r.stop()


class TestSettableWhileRunning:
    @virtual
    async def test_a_lower_limit_counts_from_the_next_failure(self) -> None:
        connector = ScriptedConnector(then=REFUSED)
        async with supervise(connector) as r:
            assert r.max_retries is None
            await asyncio.sleep(4.5)
            r.max_retries = 3
            assert (r.status, r.max_retries) == (Status.CONNECTING, 3)
            await asyncio.sleep(60)
            assert (r.status, connector.dials[-1]) == (Status.FAILED, 5.0)

    @virtual
    async def test_a_higher_limit_keeps_it_trying(self) -> None:
        connector = ScriptedConnector([REFUSED] * 6)
        async with supervise(connector, max_retries=2) as r:
            await asyncio.sleep(1.5)
            r.max_retries = None
            await r.wait_connected()

    @virtual
    async def test_a_new_backoff_counts_from_the_next_delay(self) -> None:
        connector = ScriptedConnector([REFUSED] * 3)
        new = fixed_interval(5)
        async with supervise(connector) as r:
            await asyncio.sleep(0.5)
            r.retry_interval = new
            assert r.retry_interval is new
            await r.wait_connected()
            assert connector.dials == [0.0, 1.0, 6.0, 11.0]

    def test_nonsense_is_refused_and_changes_nothing(self) -> None:
        r = supervise(ScriptedConnector(), max_retries=3, retry_interval=(old := fixed_interval(1)))
        with pytest.raises(ConfigError):
            r.max_retries = -1
        with pytest.raises(ConfigError):
            r.retry_interval = "1s"  # type: ignore[assignment]
        assert (r.max_retries, r.retry_interval) == (3, old)


class TestReconnect:
    @virtual
    async def test_ten_callers_during_a_long_sleep_share_one_dial_at_once_and_the_count_goes_on(self) -> None:
        connector = ScriptedConnector([REFUSED, REFUSED, ConnectionResetError(104, "third")])
        async with supervise(connector, retry_interval=fixed_interval(30)) as r:
            await asyncio.sleep(35)
            assert (r.retry_count, connector.dials) == (2, [0.0, 30.0])
            results = await asyncio.gather(*(r.reconnect() for _ in range(10)))
            assert (now(), results, r.retry_count) == (35.0, [False] * 10, 3)
            assert connector.dials == [0.0, 30.0, 35.0]
            await asyncio.sleep(29)
            assert len(connector.dials) == 3  # the sleep that was cut short is forgotten
            await asyncio.sleep(2)
            assert connector.dials == [0.0, 30.0, 35.0, 65.0]
            assert r.is_connected

    @virtual
    async def test_all_callers_learn_that_it_connected(self) -> None:
        connector = ScriptedConnector([REFUSED, Accept(after=2)])
        async with supervise(connector, retry_interval=fixed_interval(30)) as r:
            callers = [asyncio.create_task(r.reconnect()) for _ in range(5)]
            await asyncio.sleep(1)
            callers += [asyncio.create_task(r.reconnect()) for _ in range(5)]
            assert await asyncio.gather(*callers) == [True] * 10
            assert (now(), connector.dials) == (2.0, [0.0, 0.0])

    @virtual
    async def test_while_dialling_it_joins_the_dial(self) -> None:
        connector = ScriptedConnector([Accept(after=3)])
        r = supervise(connector)
        starting = asyncio.create_task(r.start())
        await asyncio.sleep(1)
        assert await r.reconnect() is True
        assert (now(), connector.dials) == (3.0, [0.0])
        await starting
        await r.stop()

    @virtual
    async def test_while_connected_it_replaces_the_connection_and_never_holds_two(self) -> None:
        open_at_dial: list[int] = []

        async def dial(attempt: Any) -> ScriptedConnection:
            open_at_dial.append(len(connector.live))
            return await connector.scripted_open(attempt)

        notes, called = Notes(), Notes()
        connector = Misbehaving(open=dial)
        r = supervise(connector, subscribers=[notes])
        r.on_disconnect(lambda error: called("on_disconnect", error))
        r.on_reconnect(lambda: called("on_reconnect"))
        async with r:
            await asyncio.sleep(20)
            reconnecting = asyncio.create_task(r.reconnect())
            await asyncio.sleep(0)
            assert (r.is_connected, r.status, connector.live) == (False, Status.RECONNECTING, [])
            assert await reconnecting is True
            assert [c.generation for c in connector.live] == [2]
            assert open_at_dial == [0, 0]
            assert (connector.dials, r.generation, now()) == ([0.0, 20.0], 2, 20.0)
            await settle()
            lost = notes.of(Kind.LOST)[0]
            assert (lost.cause and lost.cause.code, lost.cause and lost.cause.detail) == ("closed", "forced")
            assert called == [("on_disconnect", None), "on_reconnect"]
            await asyncio.sleep(30)
            assert r.stats().uptime == 50.0

    @virtual
    async def test_while_connected_ten_callers_replace_it_once(self) -> None:
        connector = ScriptedConnector()
        async with supervise(connector) as r:
            assert await asyncio.gather(*(r.reconnect() for _ in range(10))) == [True] * 10
            assert connector.dials == [0.0, 0.0]

    @virtual
    async def test_while_connected_and_the_server_gone_it_is_an_ordinary_outage(self) -> None:
        connector = ScriptedConnector([Accept(), REFUSED])
        async with supervise(connector) as r:
            assert await r.reconnect() is False
            assert (r.status, r.retry_count) == (Status.RECONNECTING, 1)
            await r.wait_connected()
            assert connector.dials == [0.0, 0.0, 1.0]

    @virtual
    async def test_a_stop_meanwhile_ends_the_wait_with_no(self) -> None:
        connector = ScriptedConnector([REFUSED, Hang()])
        r = supervise(connector, retry_interval=fixed_interval(30))
        await r.start()
        waiting = asyncio.create_task(r.reconnect())
        await asyncio.sleep(1)
        await r.stop()
        assert await waiting is False

    @virtual
    async def test_while_paused_it_is_refused(self) -> None:
        connector = ScriptedConnector([REFUSED])
        async with supervise(connector) as r:
            r.pause()
            with pytest.raises(UsageError, match=r"paused.*resume\(\)"):
                await r.reconnect()
            await asyncio.sleep(60)
            assert connector.dials == [0.0]
            assert len(r._engine.attempt_ended_for) == 0


class TestNetworkChange:
    @virtual
    async def test_it_cuts_a_long_sleep_short_and_the_old_timer_is_forgotten(self) -> None:
        connector = ScriptedConnector([REFUSED, REFUSED])
        async with supervise(connector, retry_interval=fixed_interval(300)) as r:
            await asyncio.sleep(100)
            r.network_changed()
            await settle()
            assert connector.dials == [0.0, 100.0]
            assert r.retry_count == 2
            await asyncio.sleep(290)
            assert connector.dials == [0.0, 100.0]
            await asyncio.sleep(20)
            assert connector.dials == [0.0, 100.0, 400.0]

    @virtual
    async def test_while_dialling_it_changes_nothing(self) -> None:
        connector = ScriptedConnector([Accept(after=2)])
        r = supervise(connector)
        starting = asyncio.create_task(r.start())
        await asyncio.sleep(1)
        r.network_changed()
        await starting
        assert (now(), connector.dials) == (2.0, [0.0])
        await r.stop()

    @virtual
    async def test_while_connected_it_probes_at_once(self) -> None:
        connector = ScriptedConnector()
        async with supervise(connector, health_check_interval=300, health_check_timeout=2) as r:
            await asyncio.sleep(10)
            connector.opened[0].mute = True
            before = connector.probes
            r.network_changed()
            await asyncio.sleep(2.1)
            assert connector.probes == before + 1
            assert r.stats().losses == 1

    @virtual
    async def test_it_does_not_cut_short_what_the_server_asked_for(self) -> None:
        connector = ScriptedConnector([Busy()])
        async with supervise(connector, rules=[busy_until(60.0)], rng=Chance(0.0)) as r:
            await asyncio.sleep(10)
            r.network_changed()
            await r.wait_connected()
            assert connector.dials == [0.0, 60.0]


class TestClockOfTheBackoff:
    @virtual
    async def test_a_stall_during_the_sleep_does_not_dial_twice(self) -> None:
        connector = ScriptedConnector([REFUSED])
        async with supervise(connector, retry_interval=fixed_interval(5)) as r:
            await asyncio.sleep(1)
            stall(30)
            await settle()
            assert connector.dials == [0.0, 31.0]
            assert r.is_connected

    @virtual
    async def test_jitter_is_drawn_from_the_given_dice(self) -> None:
        async def dials(seed: int) -> list[float]:
            connector = ScriptedConnector([Accept(lasts=20)] * 4)
            rng = random.Random(seed)
            async with supervise(connector, quick_first_retry=True, rng=rng) as r:
                await asyncio.sleep(100)
                assert r.is_connected
            began = connector.dials[0]
            return [at - began for at in connector.dials]

        first, second, other = await dials(1), await dials(1), await dials(2)
        assert first == pytest.approx(second)
        assert first != pytest.approx(other)
