"""One attempt: one deadline over all of it, one outcome, and nothing left of a failed one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.runtime.support import (
    REFUSED,
    Misbehaving,
    Notes,
    forever,
    now,
    settle,
    stubborn,
    supervise,
    virtual,
)
from tether import Status
from tether.backoff import exponential_backoff, fixed_interval
from tether.core.cause import Code, Phase
from tether.core.events import Kind
from tether.ports import Attempt
from tether.testing.scripted import Accept, Hang, ScriptedConnection, ScriptedConnector


class TestDeadline:
    @pytest.mark.parametrize(
        ("step", "phase"), [("open", Phase.TCP), ("restore", Phase.RESTORE), ("probe", Phase.READY)]
    )
    @virtual
    async def test_a_step_that_hangs_fails_the_attempt_in_time(self, step: str, phase: Phase) -> None:
        notes = Notes()
        steps: dict[str, Any] = {step: forever} if step != "open" else {}
        connector = Misbehaving(then=Hang() if step == "open" else Accept(), **steps)
        r = supervise(connector, connect_timeout=4, subscribers=[notes])
        await r.start()
        assert now() == 4.0
        (failed,) = notes.of(Kind.ATTEMPT_FAILED)
        assert failed.cause is not None
        assert (failed.cause.code, failed.cause.phase) == (Code.TIMEOUT, phase)
        assert failed.message == "TimeoutError: no answer within 4s"
        await settle()
        assert connector.live == []
        await asyncio.sleep(1)
        await settle()
        assert len(connector.dials) == 2  # and healing goes on
        await r.stop()

    @virtual
    async def test_open_restore_and_round_trip_share_one_deadline(self) -> None:
        async def slow(_: ScriptedConnection) -> None:
            await asyncio.sleep(4)

        connector = Misbehaving(then=Accept(after=4), restore=slow, probe=slow)
        r = supervise(connector, connect_timeout=10)
        await r.start()
        assert (now(), r.is_connected, connector.probes) == (10.0, False, 1)
        await r.stop()

    @virtual
    async def test_an_attempt_that_needs_almost_all_of_its_time_succeeds(self) -> None:
        async def slow(_: ScriptedConnection) -> None:
            await asyncio.sleep(3)

        connector = Misbehaving(then=Accept(after=3), restore=slow, probe=slow)
        async with supervise(connector, connect_timeout=10) as r:
            assert (now(), r.is_connected) == (9.0, True)

    @virtual
    async def test_the_deadline_is_forgotten_once_connected(self) -> None:
        async with supervise(ScriptedConnector(), connect_timeout=2) as r:
            await asyncio.sleep(100)
            assert r.stats().losses == 0

    @virtual
    async def test_a_login_provider_that_hangs_fails_the_attempt_in_time(self) -> None:
        connector = ScriptedConnector()
        r = supervise(connector, credentials=forever, connect_timeout=3)
        await r.start()
        assert (now(), connector.dials) == (3.0, [])
        cause = r.stats().cause
        assert cause is not None
        assert (cause.code, cause.phase) == (Code.TIMEOUT, Phase.AUTH)
        await r.stop()

    @virtual
    async def test_the_verdict_does_not_wait_for_a_driver_that_resists_cancellation(self) -> None:
        connector = Misbehaving(open=stubborn(7.5))
        dials: list[float] = []
        r = supervise(
            connector,
            connect_timeout=2,
            subscribers=[lambda e: dials.append(now()) if e.kind is Kind.ATTEMPT_STARTED else None],
        )
        await r.start()
        assert now() == 2.0
        await asyncio.sleep(4.5)
        assert dials == [0.0, 3.0, 6.0]
        await r.stop()
        await asyncio.sleep(10)

    @pytest.mark.parametrize("step", ["restore", "probe"])
    @virtual
    async def test_at_the_verdict_the_connection_is_dropped_even_if_its_driver_resists_cancellation(
        self, step: str
    ) -> None:
        steps: dict[str, Any] = {step: stubborn(30)}
        connector = Misbehaving(**steps)
        r = supervise(connector, connect_timeout=2, retry_interval=fixed_interval(100))
        await r.start()
        assert (now(), connector.live) == (2.0, [])
        await r.stop()
        await asyncio.sleep(40)


class TestLateResults:
    @staticmethod
    def _late_opener(delay: float) -> Misbehaving:
        """Return a connector whose dial, when cancelled, goes on for ``delay`` and then succeeds all the same."""

        async def dial(attempt: Attempt) -> ScriptedConnection:
            try:
                await forever()
            except asyncio.CancelledError:
                await asyncio.sleep(delay)
            connection = ScriptedConnection(attempt.generation, attempt)
            connector.opened.append(connection)
            return connection

        connector = Misbehaving(open=dial)
        return connector

    @virtual
    async def test_a_connection_that_opens_after_the_verdict_is_aborted(self) -> None:
        connector = self._late_opener(0.5)
        r = supervise(connector, connect_timeout=2, retry_interval=fixed_interval(100))
        await r.start()
        assert connector.opened == []
        await asyncio.sleep(1)
        assert [c.closed for c in connector.opened] == [True]
        assert r.status is Status.CONNECTING
        await r.stop()

    @virtual
    async def test_a_connection_that_opens_after_the_verdict_is_neither_restored_nor_probed(self) -> None:
        # Restoring subscriptions on it would take messages away from the next connection; and no deadline is left.
        connector = self._late_opener(0.5)
        r = supervise(connector, connect_timeout=2, retry_interval=fixed_interval(100))
        await r.start()
        await asyncio.sleep(1)
        assert (connector.restores, connector.probes) == (0, 0)
        await r.stop()

    @virtual
    async def test_a_connection_that_opens_after_stop_is_aborted_and_not_probed(self) -> None:
        connector = self._late_opener(0.1)
        r = supervise(connector)
        starting = asyncio.create_task(r.start())
        await asyncio.sleep(1)
        await r.stop()
        await starting
        assert [c.closed for c in connector.opened] == [True]
        assert (connector.restores, connector.probes) == (0, 0)

    @virtual
    async def test_a_restore_that_ends_after_the_verdict_does_not_make_it_connected(self) -> None:
        async def restore(_: ScriptedConnection) -> None:
            try:
                await forever()
            except asyncio.CancelledError:
                await asyncio.sleep(0.5)

        connector = Misbehaving(restore=restore)
        r = supervise(connector, connect_timeout=2, retry_interval=fixed_interval(100))
        await r.start()
        await asyncio.sleep(50)
        assert (r.is_connected, connector.live, connector.probes) == (False, [], 0)
        await r.stop()


class TestFailures:
    @virtual
    async def test_a_restore_that_raises_fails_the_attempt_and_drops_its_connection(self) -> None:
        async def restore(_: ScriptedConnection) -> None:
            if connector.restores == 1:
                raise ConnectionResetError(104, "in mid-restore")

        connector = Misbehaving(restore=restore)
        async with supervise(connector) as r:
            assert r.status is Status.CONNECTING
            cause = r.stats().cause
            assert cause is not None
            assert (cause.code, cause.phase) == (Code.RESET, Phase.RESTORE)
            assert connector.live == []
            await r.wait_connected()
            assert len(connector.live) == 1

    @virtual
    async def test_a_round_trip_that_fails_fails_the_attempt_and_drops_its_connection(self) -> None:
        async def probe(_: ScriptedConnection) -> None:
            if connector.probes == 1:
                raise EOFError

        connector = Misbehaving(probe=probe)
        async with supervise(connector) as r:
            cause = r.stats().cause
            assert cause is not None
            assert (cause.code, cause.phase) == (Code.EOF, Phase.READY)
            assert connector.live == []
            await r.wait_connected()

    @virtual
    async def test_an_error_that_nobody_knows_is_tried_again_with_the_original_attached(self) -> None:
        odd = KeyError("driver bug")
        async with supervise(ScriptedConnector([odd])) as r:
            cause = r.stats().cause
            assert cause is not None
            assert (cause.code, cause.error) == (Code.UNKNOWN, odd)
            await r.wait_connected(2)

    @virtual
    async def test_a_dial_that_ends_by_a_cancellation_of_its_own_is_a_failed_attempt(self) -> None:
        connector = ScriptedConnector([asyncio.CancelledError()])
        async with supervise(connector) as r:
            assert r.retry_count == 1
            await r.wait_connected(2)

    @virtual
    async def test_a_driver_that_reports_the_loss_in_mid_handshake_fails_the_attempt_at_once(self) -> None:
        async def dial(attempt: Attempt) -> ScriptedConnection:
            connection = await connector.scripted_open(attempt)
            if len(connector.dials) == 1:
                attempt.phase = Phase.TLS
                asyncio.get_running_loop().call_later(0.5, attempt.lost, ConnectionResetError())
                await forever()
            return connection

        connector = Misbehaving(open=dial)
        async with supervise(connector) as r:
            assert now() == 0.5
            cause = r.stats().cause
            assert cause is not None
            assert (cause.code, cause.phase, r.retry_count) == (Code.RESET, Phase.TLS, 1)
            assert r.stats().losses == 0  # there was no connection to lose
            await r.wait_connected(2)

    @virtual
    async def test_a_connection_that_dies_during_restore_fails_the_attempt_and_is_dropped(self) -> None:
        async def restore(connection: ScriptedConnection) -> None:
            if connector.restores == 1:
                connection.lose()
                await forever()

        connector = Misbehaving(restore=restore)
        async with supervise(connector) as r:
            assert (now(), r.retry_count) == (0.0, 1)
            await settle()
            assert connector.live == []
            await r.wait_connected(2)

    @virtual
    async def test_a_connection_that_dies_just_after_its_round_trip_is_never_connected(self) -> None:
        notes = Notes()

        async def probe(connection: ScriptedConnection) -> None:
            if connector.probes == 1:
                connection.lose()

        connector = Misbehaving(probe=probe)
        async with supervise(connector, subscribers=[notes]) as r:
            await r.wait_connected(2)
            await settle()
            assert notes.kinds == [
                Kind.STARTED,
                Kind.ATTEMPT_STARTED,
                Kind.ATTEMPT_FAILED,
                Kind.RETRY_SCHEDULED,
                Kind.ATTEMPT_STARTED,
                Kind.CONNECTED,
            ]
            assert [c.generation for c in connector.live] == [2]

    @virtual
    async def test_an_abort_that_raises_does_not_stop_the_next_attempt(self) -> None:
        def abort(_: ScriptedConnection) -> None:
            raise RuntimeError("already closed")

        connector = Misbehaving([Accept(lasts=1)], abort=abort)
        async with supervise(connector) as r:
            await asyncio.sleep(5)
            assert r.is_connected
            assert r.generation == 2

    @virtual
    async def test_an_abort_that_reports_the_loss_once_more_is_heard_as_evidence(self) -> None:
        # Drivers tell "connection lost" again when their transport is aborted.
        notes = Notes()

        def abort(connection: ScriptedConnection) -> None:
            connection.attempt.lost(ConnectionResetError())

        connector = Misbehaving([Accept(lasts=1)], abort=abort)
        async with supervise(connector, subscribers=[notes]) as r:
            await asyncio.sleep(5)
            assert (r.generation, r.is_connected, r.stats().losses) == (2, True, 1)
            assert notes.kinds.count(Kind.EVIDENCE) == 1

    @virtual
    async def test_five_thousand_failures_later_it_is_alive_and_its_delay_within_the_cap(self) -> None:
        delays: list[float] = []
        connector = ScriptedConnector([REFUSED] * 5000)
        r = supervise(
            connector,
            retry_interval=exponential_backoff(1, 2, maximum=60, jitter=0.1),
            subscribers=[lambda e: delays.append(e.delay) if e.delay is not None else None],
        )
        await r.start()
        await r.wait_connected()
        await r.stop()
        assert len(delays) == 5000
        assert max(delays) <= 66.0
        assert len(set(delays[10:])) > 4000  # dispersed at the cap
