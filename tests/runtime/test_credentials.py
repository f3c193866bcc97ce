"""Refused logins: whom to ask, how often to try, and when to stop trying."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.runtime.support import Chance, Notes, forever, now, settle, supervise, virtual
from tether import Status
from tether.core.cause import Code, Phase
from tether.core.events import Kind
from tether.ports import Attempt
from tether.testing.scripted import ScriptedConnection, ScriptedConnector


class Refused(Exception):
    """What a scripted server says to a wrong password."""


def refusals(error: BaseException, phase: Phase) -> str | None:
    return "auth" if isinstance(error, Refused) else None


class Guarded(ScriptedConnector):
    """A connector to a server that lets in who brings the right credential.

    Args:
        accepts: the right credentials.
        own: the connector's own credential.
    """

    def __init__(self, accepts: Iterable[Any], own: Any = None) -> None:
        super().__init__()
        self.accepts = set(accepts)
        self.credential = own
        self.refused: list[float] = []

    async def open(self, attempt: Attempt) -> ScriptedConnection:
        connection = await super().open(attempt)
        if (self.credential if attempt.credential is None else attempt.credential) in self.accepts:
            return connection
        self.opened.remove(connection)
        self.refused.append(now())
        raise Refused


def guarded(connector: Guarded, **options: Any) -> Any:
    return supervise(connector, rules=[refusals], **options)


class Provider:
    """A credentials provider that counts how often it is asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[float] = []

    def __call__(self) -> Any:
        self.asked.append(now())
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class TestNeverWorked:
    @virtual
    async def test_a_wrong_password_is_tried_twice_and_then_parked(self) -> None:
        notes = Notes()
        connector = Guarded(["good"], own="bad")
        r = guarded(connector)
        r.on_give_up(lambda error, count: notes(type(error), count))
        async with r:
            await asyncio.sleep(100_000)
            assert (r.status, connector.refused, notes) == (Status.FAILED, [0.0, 1.0], [(Refused, 2)])
            cause = r.stats().cause
            assert cause is not None
            assert cause.code is Code.AUTH

    @virtual
    async def test_the_pause_before_the_second_try_can_be_set(self) -> None:
        connector = Guarded(["good"], own="bad")
        async with guarded(connector, reauth_delay=30):
            await asyncio.sleep(100)
            assert connector.refused == [0.0, 30.0]

    @virtual
    async def test_whoever_forces_it_gets_one_attempt_each(self) -> None:
        connector = Guarded(["good"], own="bad")
        async with guarded(connector) as r:
            await asyncio.sleep(10)
            for _ in range(3):
                assert await r.reconnect() is False
                await asyncio.sleep(100)
            assert connector.refused == [0.0, 1.0, 10.0, 110.0, 210.0]
            connector.accepts = {"bad"}
            assert await r.reconnect() is True

    @virtual
    async def test_a_network_change_does_not_hammer_the_server(self) -> None:
        connector = Guarded(["good"], own="bad")
        async with guarded(connector) as r:
            r.network_changed()  # nor does it cut the pause short
            await asyncio.sleep(10)
            for _ in range(10):
                r.network_changed()
                await asyncio.sleep(1)
            assert connector.refused == [0.0, 1.0]

    @virtual
    async def test_a_login_that_was_refused_once_and_then_works_is_no_harm(self) -> None:
        connector = Guarded([], own="slow to arrive")
        async with guarded(connector) as r:
            connector.accepts = {"slow to arrive"}
            await r.wait_connected()
            assert now() == 1.0


class TestProvider:
    @pytest.mark.parametrize("kind", ["sync", "async"])
    @virtual
    async def test_it_is_asked_once_after_a_refusal_and_its_answer_is_used(self, kind: str) -> None:
        provider = Provider("good")

        async def later() -> Any:
            await asyncio.sleep(0.25)
            return provider()

        connector = Guarded(["good"], own="bad")
        async with guarded(connector, credentials=provider if kind == "sync" else later) as r:
            await r.wait_connected()
            assert (connector.credentials, len(provider.asked)) == ([None, "good"], 1)
            assert provider.asked == [1.0 if kind == "sync" else 1.25]

    @virtual
    async def test_without_a_credential_to_begin_with_it_is_asked_before_the_first_dial(self) -> None:
        provider = Provider("good")
        connector = Guarded(["good"])
        async with guarded(connector, credentials=provider) as r:
            assert (r.is_connected, connector.credentials, provider.asked) == (True, ["good"], [0.0])

    @virtual
    async def test_a_credential_that_works_is_used_again_without_asking(self) -> None:
        provider = Provider("good")
        connector = Guarded(["good"])
        async with guarded(connector, credentials=provider) as r:
            for _ in range(5):
                await r.reconnect()
            assert (len(connector.credentials), len(provider.asked)) == (6, 1)

    @virtual
    async def test_an_outage_of_the_network_asks_nobody(self) -> None:
        provider = Provider("new")
        connector = Guarded(["own"], own="own")
        async with guarded(connector, credentials=provider) as r:
            for connection in list(connector.opened):
                connection.lose()
            await r.wait_connected()
            assert (provider.asked, connector.credentials) == ([], [None, None])

    @virtual
    async def test_a_provider_that_has_nothing_better_leads_to_parking_after_two_refusals(self) -> None:
        provider = Provider("bad")
        connector = Guarded(["good"], own="bad")
        async with guarded(connector, credentials=provider) as r:
            await asyncio.sleep(100_000)
            assert (r.status, connector.refused, provider.asked) == (Status.FAILED, [0.0, 1.0], [1.0])

    @virtual
    async def test_each_credential_that_never_worked_gets_two_tries(self) -> None:
        provider = Provider("second")
        connector = Guarded(["good"], own="first")
        async with guarded(connector, credentials=provider) as r:
            await asyncio.sleep(100_000)
            assert (r.status, connector.credentials) == (Status.FAILED, [None, "second", "second"])
            assert len(provider.asked) == 2

    @virtual
    async def test_fresh_tokens_that_are_all_refused_do_not_hammer_the_server(self) -> None:
        # A token service hands out a new token each time; the account behind them is locked.
        tokens = iter(range(1_000_000))
        connector = Guarded(["good"])
        async with guarded(connector, credentials=lambda: f"token {next(tokens)}"):
            await asyncio.sleep(3600)
            assert len(connector.refused) <= 10

    @virtual
    async def test_one_that_raises_fails_the_attempt_and_is_asked_again_with_backoff(self) -> None:
        calls: list[float] = []

        def provider() -> str:
            calls.append(now())
            if len(calls) < 4:
                raise KeyError("the vault is sealed")
            return "good"

        connector = Guarded(["good"])
        async with guarded(connector, credentials=provider) as r:
            cause = r.stats().cause
            assert cause is not None
            assert (cause.phase, type(cause.error)) == (Phase.AUTH, KeyError)
            await r.wait_connected()
            assert (calls, connector.credentials) == ([0.0, 1.0, 2.0, 3.0], ["good"])

    @virtual
    async def test_one_that_had_no_answer_to_a_refusal_is_asked_again_before_the_old_one_is_tried(
        self,
    ) -> None:
        calls: list[float] = []

        async def provider() -> str:
            calls.append(now())
            if len(calls) == 1:
                raise KeyError("the vault is sealed")
            if len(calls) == 2:
                await forever()
            return "good"

        connector = Guarded(["good"], own="bad")
        async with guarded(connector, credentials=provider, connect_timeout=5) as r:
            await r.wait_connected()
            assert (calls, connector.refused) == ([1.0, 2.0, 8.0], [0.0])

    @virtual
    async def test_one_that_was_interrupted_by_a_pause_is_asked_again(self) -> None:
        calls: list[float] = []

        async def provider() -> str:
            calls.append(now())
            if len(calls) == 1:
                await forever()
            return "good"

        connector = Guarded(["good"], own="bad")
        async with guarded(connector, credentials=provider) as r:
            await asyncio.sleep(2)
            r.pause()
            r.resume()
            await r.wait_connected()
            assert (calls, connector.refused) == ([1.0, 2.0], [0.0])

    @virtual
    async def test_one_that_hangs_fails_the_attempt_in_time_and_is_asked_again(self) -> None:
        calls: list[float] = []

        async def provider() -> str:
            calls.append(now())
            if len(calls) == 1:
                await forever()
            return "good"

        async with guarded(Guarded(["good"]), credentials=provider, connect_timeout=5) as r:
            assert now() == 5.0
            await r.wait_connected()
            assert calls == [0.0, 6.0]

    @virtual
    async def test_the_providers_time_counts_towards_the_attempts(self) -> None:
        async def provider() -> str:
            await asyncio.sleep(4)
            return "good"

        connector = Guarded(["good"])
        connector._script = iter([])
        async with guarded(connector, credentials=provider, connect_timeout=4.5) as r:
            assert (now(), r.is_connected) == (4.0, True)


class TestDidWork:
    @virtual
    async def test_a_credential_that_did_work_is_tried_slowly_and_for_ever(self) -> None:
        connector = Guarded(["own"], own="own")
        async with guarded(connector, rng=Chance(0.5)) as r:
            await asyncio.sleep(100)
            connector.accepts = set()
            connector.opened[0].lose(Refused())
            await asyncio.sleep(10_000)
            assert r.status is Status.RECONNECTING
            waits = [b - a for a, b in zip([100.0, *connector.refused], connector.refused, strict=False)]
            assert waits[:8] == pytest.approx([1, 60, 120, 240, 480, 900, 900, 900])
            connector.accepts = {"own"}  # the rotation is through
            await r.wait_connected(1000)

    @virtual
    async def test_the_slow_tries_of_many_clients_are_dispersed(self) -> None:
        async def first_wait(chance: float) -> float:
            connector = Guarded(["own"], own="own")
            async with guarded(connector, rng=Chance(chance)):
                connector.accepts = set()
                connector.opened[0].lose(Refused())
                await asyncio.sleep(200)
            return connector.refused[1] - connector.refused[0]

        assert await first_wait(0.0) == pytest.approx(54.0)
        assert await first_wait(1.0) == pytest.approx(66.0)

    @virtual
    async def test_an_expired_credential_is_renewed_and_the_connection_comes_back(self) -> None:
        provider = Provider("second")
        connector = Guarded(["first"], own="first")
        async with guarded(connector, credentials=provider) as r:
            await asyncio.sleep(50)
            connector.accepts = {"second"}
            connector.opened[0].lose(Refused())
            await r.wait_connected()
            assert (now(), connector.credentials, len(provider.asked)) == (51.0, [None, "second"], 1)
            assert connector.refused == []

    @virtual
    async def test_a_renewed_credential_that_never_works_is_parked_as_any_other(self) -> None:
        connector = Guarded(["first"], own="first")
        async with guarded(connector, credentials=Provider("second")) as r:
            connector.accepts = set()
            connector.opened[0].lose(Refused())
            await asyncio.sleep(10_000)
            assert (r.status, connector.refused) == (Status.FAILED, [1.0, 2.0])


class TestChanged:
    @virtual
    async def test_a_changed_credential_revives_what_was_parked(self) -> None:
        connector = Guarded(["good"], own="bad")
        async with guarded(connector) as r:
            await asyncio.sleep(10)
            assert r.status is Status.FAILED
            connector.credential = "good"
            r.credential_changed()
            await settle()
            assert (r.is_connected, now()) == (True, 10.0)

    @virtual
    async def test_a_changed_credential_is_fetched_from_the_provider_at_once(self) -> None:
        provider = Provider("bad")
        connector = Guarded(["good"])
        async with guarded(connector, credentials=provider) as r:
            await asyncio.sleep(10)
            assert r.status is Status.FAILED
            provider.answers = ["good"]
            connector.credentials.clear()
            r.credential_changed()
            await settle()
            assert (r.is_connected, connector.credentials) == (True, ["good"])

    @virtual
    async def test_a_changed_credential_cuts_the_slow_pause_short(self) -> None:
        connector = Guarded(["own"], own="own")
        async with guarded(connector) as r:
            connector.accepts = set()
            connector.opened[0].lose(Refused())
            await asyncio.sleep(20)  # within the pause of a minute
            connector.accepts = {"own"}
            r.credential_changed()
            await settle()
            assert r.is_connected

    @virtual
    async def test_a_changed_credential_gets_two_tries_of_its_own(self) -> None:
        connector = Guarded(["good"], own="bad")
        async with guarded(connector) as r:
            await asyncio.sleep(10)
            connector.credential = "also bad"
            r.credential_changed()
            await asyncio.sleep(10)
            assert (r.status, connector.refused) == (Status.FAILED, [0.0, 1.0, 10.0, 11.0])

    @virtual
    async def test_while_connected_or_down_for_another_reason_it_dials_nothing(self) -> None:
        connector = Guarded(["own"], own="own")
        async with guarded(connector) as r:
            r.credential_changed()
            await settle()
            assert len(connector.credentials) == 1
            connector.opened[0].lose()
            r.credential_changed()
            await settle()
            assert len(connector.credentials) == 1
            await r.wait_connected()

    @virtual
    async def test_while_paused_it_waits_for_resume(self) -> None:
        connector = Guarded(["good"], own="bad")
        async with guarded(connector) as r:
            await asyncio.sleep(0.5)
            r.pause()
            connector.credential = "good"
            r.credential_changed()
            await asyncio.sleep(10)
            assert len(connector.credentials) == 1
            r.resume()
            await settle()
            assert r.is_connected


@virtual
async def test_credentials_are_shown_nowhere() -> None:
    notes = Notes()
    connector = Guarded(["good"], own="bad")
    connector.secrets = ("swordfish",)
    failing: Callable[[], Any] = Provider("swordfish")
    async with guarded(connector, credentials=failing, subscribers=[notes]) as r:
        await asyncio.sleep(10)
        shown = "".join(map(repr, [r, r.stats(), *notes])) + str([event.as_dict() for event in notes])
        assert "swordfish" not in shown
    assert Kind.GAVE_UP in notes.kinds
