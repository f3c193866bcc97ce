"""Noticing: probes and their deadlines, what users report, and our own loop being late."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runtime.support import (
    Chance,
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
from tether import NoVerdict, Status
from tether.core.cause import Code, Phase
from tether.core.events import Kind
from tether.testing.clock import run_virtual
from tether.testing.scripted import Accept, Hang, ScriptedConnection, ScriptedConnector


class TestProbing:
    @virtual
    async def test_the_first_probe_comes_at_a_random_phase_and_the_others_at_the_interval(self) -> None:
        times: list[float] = []

        async def probe(_: ScriptedConnection) -> None:
            times.append(now())
            await asyncio.sleep(0.5)

        async with supervise(Misbehaving(probe=probe), health_check_interval=10, rng=Chance(0.3)):
            await asyncio.sleep(40)
        assert times == [0.0, 3.5, 13.5, 23.5, 33.5]

    @virtual
    async def test_connections_made_in_one_moment_are_not_probed_in_one_moment(self) -> None:
        rng = random.Random(5)
        firsts: list[float] = []

        def make() -> Misbehaving:
            async def probe(_: ScriptedConnection) -> None:
                if connector.probes == 2:
                    firsts.append(now())

            connector = Misbehaving(probe=probe)
            return connector

        fleet = [supervise(make(), health_check_interval=10, rng=rng) for _ in range(200)]
        await asyncio.gather(*(r.start() for r in fleet))
        await asyncio.sleep(10)
        await asyncio.gather(*(r.stop() for r in fleet))
        assert len(firsts) == 200
        fullest = max(sum(second <= at < second + 1 for at in firsts) for second in range(10))
        assert fullest < 40

    @virtual
    async def test_a_quiet_peer_that_answers_is_left_alone(self) -> None:
        connector = ScriptedConnector()
        notes = Notes()
        async with supervise(connector, health_check_interval=5, subscribers=[notes]) as r:
            await asyncio.sleep(50)
            assert (len(connector.dials), r.is_connected) == (1, True)
            assert connector.probes == 11
            assert notes.kinds == [Kind.STARTED, Kind.ATTEMPT_STARTED, Kind.CONNECTED]

    @virtual
    async def test_a_slow_answer_within_the_timeout_is_an_answer(self) -> None:
        async def probe(_: ScriptedConnection) -> None:
            await asyncio.sleep(2.9)

        async with supervise(Misbehaving(probe=probe), health_check_timeout=3) as r:
            await asyncio.sleep(100)
            assert (r.stats().losses, r.stats().probes_failed) == (0, 0)

    @virtual
    async def test_a_probe_that_fails_is_a_loss_with_its_cause(self) -> None:
        notes = Notes()
        connector = ScriptedConnector()
        async with supervise(connector, health_check_interval=10, subscribers=[notes]) as r:
            error = ConnectionResetError(104, "x")
            connector.opened[0].die(error)
            await asyncio.sleep(5)
            await settle()
            assert notes.kinds[-3:] == [Kind.PROBE_FAILED, Kind.LOST, Kind.RETRY_SCHEDULED]
            lost = notes.of(Kind.LOST)[0]
            assert lost.error is error is r.last_error
            assert lost.cause is not None
            assert (lost.cause.code, lost.cause.phase, lost.elapsed) == (Code.RESET, Phase.READY, 5.0)
            assert (r.status, connector.live) == (Status.RECONNECTING, [])

    @virtual
    async def test_a_probe_error_that_nobody_knows_is_a_loss_too(self) -> None:
        connector = ScriptedConnector()
        async with supervise(connector) as r:
            connector.opened[0].die(KeyError("odd"))
            await asyncio.sleep(5.5)
            cause = r.stats().cause
            assert cause is not None
            assert cause.code is Code.UNKNOWN

    @given(
        phase=st.floats(0, 1, exclude_max=True),
        muted=st.floats(0, 30),
        interval=st.sampled_from([0.3, 1.0, 2.1, 5.0, 10.0]),
        timeout=st.sampled_from([0.2, 1.0, 3.0, 7.0]),
        threshold=st.integers(1, 4),
    )
    @settings(deadline=None, max_examples=60)
    def test_a_mute_peer_is_noticed_within_interval_and_timeout_times_the_threshold(
        self, phase: float, muted: float, interval: float, timeout: float, threshold: int
    ) -> None:
        async def main() -> float:
            connector = ScriptedConnector()
            lost: list[float] = []
            r = supervise(
                connector,
                health_check_interval=interval,
                health_check_timeout=timeout,
                failure_threshold=threshold,
                rng=Chance(phase),
            )
            r.on_disconnect(lambda _: lost.append(now()))
            async with r:
                await asyncio.sleep(muted)
                connector.opened[0].mute = True
                await asyncio.sleep((interval + timeout) * threshold + 1)
            return lost[0] - muted

        took = run_virtual(main())
        assert timeout - 1e-9 <= took <= (interval + timeout) * threshold + 1e-9

    @virtual
    async def test_below_the_threshold_a_failed_probe_is_told_but_is_no_loss(self) -> None:
        answers = iter([True, False, False, True, False, False, True, False, False, False])

        async def probe(_: ScriptedConnection) -> None:
            if not next(answers, True):
                raise TimeoutError

        connector = Misbehaving(probe=probe)
        async with supervise(connector, failure_threshold=3, health_check_interval=10) as r:
            await asyncio.sleep(80)
            assert (r.stats().losses, r.stats().probes_failed, r.is_connected) == (0, 6, True)
            await asyncio.sleep(6)
            assert (r.stats().losses, r.stats().probes_failed) == (1, 7)

    @virtual
    async def test_a_new_connection_begins_with_a_clean_record(self) -> None:
        async def probe(_: ScriptedConnection) -> None:
            if connector.probes in {2, 3, 5}:
                raise TimeoutError

        connector = Misbehaving(probe=probe)
        async with supervise(connector, failure_threshold=2, health_check_interval=10) as r:
            await asyncio.sleep(60)
            assert (r.stats().losses, r.stats().probes_failed) == (1, 3)

    @virtual
    async def test_a_probe_that_could_not_be_made_says_nothing(self) -> None:
        async def probe(_: ScriptedConnection) -> None:
            if connector.probes > 1:
                raise NoVerdict("the pool is exhausted")

        connector = Misbehaving(probe=probe)
        async with supervise(connector, health_check_interval=10) as r:
            await asyncio.sleep(100)
            assert (connector.probes, r.stats().losses, r.stats().probes_failed) == (11, 0, 0)

    @virtual
    async def test_a_probe_that_could_not_be_made_forgives_no_earlier_failure(self) -> None:
        outcomes: list[BaseException | None] = [None, TimeoutError(), NoVerdict(), TimeoutError()]

        async def probe(_: ScriptedConnection) -> None:
            outcome = outcomes.pop(0) if outcomes else None
            if outcome is not None:
                raise outcome

        async with supervise(Misbehaving(probe=probe), failure_threshold=2, health_check_interval=10) as r:
            await asyncio.sleep(26)
            assert r.stats().losses == 1

    @virtual
    async def test_the_verdict_does_not_wait_for_a_probe_that_resists_cancellation(self) -> None:
        notes = Notes()
        hangs = stubborn(20)

        async def probe(_: ScriptedConnection) -> None:
            if connector.probes == 2:
                await hangs()

        connector = Misbehaving(probe=probe)
        async with supervise(connector, health_check_interval=10, health_check_timeout=2) as r:
            r.on_disconnect(lambda _: notes(now()))
            r.on_reconnect(lambda: notes(now()))
            await asyncio.sleep(30)
            assert notes == [7.0, 8.0]

    @virtual
    async def test_after_a_loss_the_old_connection_is_not_probed_any_more(self) -> None:
        connector = ScriptedConnector([Accept(lasts=1)], then=Hang())
        async with supervise(connector, health_check_interval=0.7, connect_timeout=100):
            await asyncio.sleep(60)
            assert connector.probes == 2

    @virtual
    async def test_after_a_reconnect_only_the_new_connection_is_probed(self) -> None:
        probed: list[int] = []

        async def probe(connection: ScriptedConnection) -> None:
            probed.append(connection.generation)

        connector = Misbehaving([Accept(lasts=12)], probe=probe)
        async with supervise(connector, health_check_interval=10) as r:
            await asyncio.sleep(53.5)
            assert r.generation == 2
        assert probed == [1, 1, 2, 2, 2, 2, 2]

    @virtual
    async def test_a_slow_probe_is_not_overtaken_by_the_next(self) -> None:
        running = 0

        async def probe(_: ScriptedConnection) -> None:
            nonlocal running
            running += 1
            assert running == 1
            await asyncio.sleep(2.5)
            running -= 1

        connector = Misbehaving(probe=probe)
        async with supervise(connector, health_check_interval=1, health_check_timeout=5) as r:
            for _ in range(40):
                await asyncio.sleep(0.5)
                r.report(TimeoutError())
            assert (r.stats().losses, connector.probes) == (0, 9)


class TestPassiveSignals:
    @virtual
    async def test_without_health_checks_nothing_is_probed_after_the_first_round_trip(self) -> None:
        connector = ScriptedConnector()
        async with supervise(connector, health_check=False) as r:
            connector.opened[0].mute = True
            await asyncio.sleep(1000)
            assert (connector.probes, r.is_connected) == (1, True)

    @virtual
    async def test_without_health_checks_a_driver_that_reports_the_loss_is_heard_at_once(self) -> None:
        connector = ScriptedConnector([Accept(lasts=3)])
        async with supervise(connector, health_check=False) as r:
            await asyncio.sleep(3.5)
            assert r.status is Status.RECONNECTING
            await r.wait_connected()
            assert now() == 4.0

    @virtual
    async def test_a_loss_reported_while_a_probe_is_under_way_counts_once_and_ends_the_probe(self) -> None:
        cancelled: list[bool] = []

        async def probe(_: ScriptedConnection) -> None:
            if connector.probes == 2:
                try:
                    await forever()
                except asyncio.CancelledError:
                    cancelled.append(True)
                    raise

        connector = Misbehaving(probe=probe)
        async with supervise(connector, health_check_interval=10, health_check_timeout=3) as r:
            await asyncio.sleep(6)
            connector.opened[0].lose()
            await settle()
            assert (cancelled, r.stats().losses, r.stats().probes_failed) == ([True], 1, 0)
            await asyncio.sleep(20)
            assert (r.generation, r.stats().losses) == (2, 1)

    @virtual
    async def test_two_detectors_at_once_make_one_loss_and_one_piece_of_evidence(self) -> None:
        notes = Notes()
        connector = ScriptedConnector()
        r = supervise(connector, subscribers=[notes])
        r.on_disconnect(notes)
        async with r:
            first, second = ConnectionResetError(104, "first"), EOFError("second")
            connector.opened[0].lose(first)
            r.report(second, 1)
            await settle()
            assert notes[-1] is first
            (evidence,) = notes.of(Kind.EVIDENCE)
            assert (evidence.error, r.last_error) == (second, first)


class TestReport:
    @virtual
    async def test_an_error_of_the_present_connection_tears_it_down(self) -> None:
        connector = ScriptedConnector()
        async with supervise(connector) as r:
            r.report(BrokenPipeError(32, "x"), r.generation)
            assert (r.is_connected, r.status, connector.live) == (False, Status.RECONNECTING, [])
            await r.wait_connected(2)

    @virtual
    async def test_a_late_error_of_an_old_connection_changes_nothing(self) -> None:
        notes = Notes()
        connector = ScriptedConnector([Accept(lasts=1)])
        async with supervise(connector, subscribers=[notes]) as r:
            await asyncio.sleep(5)
            r.report(ConnectionResetError(104, "old"), 1)
            connector.opened[0].lose()
            await settle()
            assert (r.is_connected, r.generation, r.stats().losses) == (True, 2, 1)
            assert [c.generation for c in connector.live] == [2]
            assert notes.kinds[-2:] == [Kind.EVIDENCE] * 2

    @virtual
    async def test_a_late_error_of_an_old_connection_does_not_disturb_the_dial(self) -> None:
        connector = ScriptedConnector([Accept(lasts=1), Accept(after=5)])
        async with supervise(connector) as r:
            await asyncio.sleep(3)
            r.report(ConnectionResetError(104, "old"), 1)
            connector.opened[0].lose()
            await r.wait_connected()
            assert (now(), connector.dials) == (7.0, [0.0, 2.0])

    @virtual
    async def test_an_error_that_is_no_loss_changes_nothing(self) -> None:
        connector = ScriptedConnector()
        async with supervise(connector) as r:
            r.report(KeyError("x"), r.generation)
            await settle()
            assert (r.is_connected, connector.probes) == (True, 1)

    @virtual
    async def test_without_a_generation_it_asks_a_probe_and_a_good_answer_settles_it(self) -> None:
        connector = ScriptedConnector()
        async with supervise(connector, health_check=False) as r:
            r.report(ConnectionResetError(104, "whose?"))
            assert r.is_connected
            await settle()
            assert (r.is_connected, connector.probes) == (True, 2)

    @virtual
    async def test_without_a_generation_it_asks_a_probe_and_a_bad_answer_is_the_loss(self) -> None:
        connector = ScriptedConnector()
        async with supervise(connector, health_check=False) as r:
            connector.opened[0].die()
            r.report(ConnectionResetError(104, "whose?"))
            assert r.is_connected
            await settle()
            assert r.status is Status.RECONNECTING

    @virtual
    async def test_many_reports_share_one_probe(self) -> None:
        connector = ScriptedConnector()
        async with supervise(connector, health_check=False) as r:
            for _ in range(100):
                r.report(TimeoutError())
            await settle()
            assert connector.probes == 2

    @virtual
    async def test_a_report_while_down_probes_nothing(self) -> None:
        connector = ScriptedConnector([Accept(lasts=1)], then=Hang())
        async with supervise(connector) as r:
            await asyncio.sleep(1.5)
            r.report(TimeoutError())
            r.report(ConnectionResetError(104, "x"), r.generation)
            await asyncio.sleep(1)
            assert (connector.probes, r.stats().losses) == (1, 1)

    @virtual
    async def test_an_extra_probe_moves_the_schedule_and_doubles_nothing(self) -> None:
        times: list[float] = []

        async def probe(_: ScriptedConnection) -> None:
            times.append(now())

        async with supervise(Misbehaving(probe=probe), health_check_interval=10) as r:
            await asyncio.sleep(4)
            r.report(TimeoutError())
            await asyncio.sleep(30.5)
        assert times == [0.0, 4.0, 14.0, 24.0, 34.0]


class TestOwnLoopLate:
    """The peer answers 0.5 s after it was asked; whoever is late here, it is not the peer."""

    @staticmethod
    def _answering(delay: float = 0.5) -> Misbehaving:
        async def probe(connection: ScriptedConnection) -> None:
            if connector.probes > 1:
                await asyncio.sleep(delay)
                await connector.scripted_probe(connection)

        connector = Misbehaving(probe=probe)
        return connector

    @pytest.mark.parametrize("seconds", [1.8, 1.9, 1.99, 2.0, 2.05, 2.1, 2.15, 2.2, 3.0, 60.0])
    @pytest.mark.parametrize("asked", [0.0, 0.1])
    @virtual
    async def test_a_stall_of_our_own_is_no_loss(self, seconds: float, asked: float) -> None:
        connector = self._answering()
        r = supervise(connector, health_check_interval=10, health_check_timeout=2)
        async with r:
            # The stall begins before (0.0) or after (0.1) the probe at 5.0 was sent.
            asyncio.get_running_loop().call_at(5.0 + asked, stall, seconds)
            await asyncio.sleep(9 + seconds)
            assert connector.probes >= 2
            assert (r.stats().losses, r.stats().probes_failed, r.is_connected) == (0, 0, True)

    @virtual
    async def test_many_small_stalls_are_no_loss(self) -> None:
        connector = self._answering()

        def busy() -> None:
            stall(0.9)
            asyncio.get_running_loop().call_later(0.001, busy)

        async with supervise(connector, health_check_interval=10, health_check_timeout=2) as r:
            asyncio.get_running_loop().call_later(4.9, busy)
            for _ in range(30):
                await asyncio.sleep(1)
            assert r.stats().losses == 0
            busy = lambda: None  # noqa: E731 - ends the chain
            await asyncio.sleep(1)

    @virtual
    async def test_the_stall_is_reported(self) -> None:
        notes = Notes()
        connector = self._answering()
        async with supervise(connector, health_check_timeout=2, subscribers=[notes]) as r:
            asyncio.get_running_loop().call_at(5.1, stall, 10.0)
            await asyncio.sleep(16)
            assert r.stats().stalls == 1
            (event,) = notes.of(Kind.STALLED)
            assert event.elapsed is not None
            assert 8.0 <= event.elapsed <= 10.0
            assert r.stats().probes_failed == 0

    @virtual
    async def test_a_peer_that_is_mute_indeed_is_noticed_soon_after_the_stall(self) -> None:
        connector = self._answering()
        lost: list[float] = []
        async with supervise(connector, health_check_interval=10, health_check_timeout=2) as r:
            r.on_disconnect(lambda _: lost.append(now()))
            connector.opened[0].mute = True
            asyncio.get_running_loop().call_at(5.1, stall, 10.0)
            await asyncio.sleep(25)
            assert len(lost) == 1
            assert 15.1 <= lost[0] <= 15.1 + 2 * 2

    @virtual
    async def test_a_stall_while_dialling_fails_no_attempt(self) -> None:
        connector = ScriptedConnector([Accept(after=0.5)])
        r = supervise(connector, connect_timeout=2)
        starting = asyncio.create_task(r.start())
        asyncio.get_running_loop().call_at(0.1, stall, 5.0)
        await starting
        assert (r.is_connected, connector.dials) == (True, [0.0])
        assert r.stats().failed_attempts == 0
        await r.stop()

    @virtual
    async def test_a_stall_between_two_probes_changes_nothing(self) -> None:
        connector = self._answering()
        async with supervise(connector, health_check_interval=10, health_check_timeout=2) as r:
            asyncio.get_running_loop().call_at(6.0, stall, 100.0)
            await asyncio.sleep(120)
            assert (r.stats().losses, r.is_connected) == (0, True)

    @virtual
    async def test_without_a_stall_the_verdict_is_exactly_in_time(self) -> None:
        connector = ScriptedConnector()
        lost: list[float] = []
        async with supervise(connector, health_check_interval=10, health_check_timeout=2) as r:
            r.on_disconnect(lambda _: lost.append(now()))
            connector.opened[0].mute = True
            await asyncio.sleep(8)
            assert lost == [7.0]


def test_answers_of_any_awaitable_count() -> None:
    """A probe may return whatever it likes: only raising is a bad answer."""

    async def main() -> int:
        async def probe(_: ScriptedConnection) -> Any:
            return False

        async with supervise(Misbehaving(probe=probe)) as r:
            await asyncio.sleep(60)
            return r.stats().losses

    assert run_virtual(main()) == 0


@virtual
async def test_a_doubt_is_followed_up_even_without_health_checks() -> None:
    connector = ScriptedConnector()
    options: dict[str, Any] = {"failure_threshold": 3, "health_check": False, "health_check_interval": 5}
    async with supervise(connector, **options) as r:
        connector.opened[0].die()
        r.report(ConnectionResetError(104, "x"))
        await asyncio.sleep(9)
        assert (r.is_connected, r.stats().probes_failed) == (True, 2)
        await asyncio.sleep(3)
        assert (r.stats().losses, r.is_connected) == (1, True)
