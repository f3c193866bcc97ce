"""The course of an attempt: which phases it went through, how long each took, and that nothing of it is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from tests.runtime.support import REFUSED, Misbehaving, Notes, forever, settle, supervise, virtual
from tether.core.cause import Phase
from tether.core.events import Kind
from tether.ports import Attempt
from tether.runtime.course import Course
from tether.testing import Accept, Hang, ScriptedConnection, ScriptedConnector
from tether.testing.scripted import Outcome

ENDS = (Kind.CONNECTED, Kind.RECONNECTED, Kind.ATTEMPT_FAILED)


class Slow(ScriptedConnector):
    """Takes 1 s to look up, 2 to connect, 3 for TLS, 4 to log in, 5 to restore, 6 for the round trip."""

    def __init__(self, script: Iterable[Outcome] = ()) -> None:
        super().__init__(script, phase=Phase.AUTH)

    async def open(self, attempt: Attempt) -> ScriptedConnection:
        for seconds, phase in enumerate((Phase.DNS, Phase.TCP, Phase.TLS, Phase.AUTH), 1):
            attempt.phase = phase
            await asyncio.sleep(seconds)
        return await super().open(attempt)

    async def restore(self, handle: ScriptedConnection) -> Any:
        await asyncio.sleep(5)
        return await super().restore(handle)

    async def probe(self, handle: ScriptedConnection) -> None:
        await asyncio.sleep(6)
        await super().probe(handle)


def a_second_each(*phases: Phase) -> dict[str, Any]:
    """Return the course of an attempt that entered these phases a second apart, and ended a second later."""
    course = Course(100.0)
    for number, phase in enumerate(phases):
        course.enter(phase, 100.0 + number)
    return course.detail(100.0 + len(phases))


class TestCourse:
    def test_each_phase_lasts_until_the_next_one(self) -> None:
        assert a_second_each(Phase.DNS, Phase.TCP, Phase.AUTH) == {
            "duration": 3.0,
            "phases": {"dns": 1.0, "tcp": 1.0, "auth": 1.0},
            "entered": [["dns", 0.0], ["tcp", 1.0], ["auth", 2.0]],
        }

    def test_the_order_is_that_in_which_they_began(self) -> None:
        assert list(a_second_each(Phase.TLS, Phase.DNS, Phase.READY)["phases"]) == ["tls", "dns", "ready"]

    def test_a_phase_entered_twice_adds_up_and_is_told_twice(self) -> None:
        told = a_second_each(Phase.AUTH, Phase.TCP, Phase.AUTH)
        assert told["phases"] == {"auth": 2.0, "tcp": 1.0}
        assert told["entered"] == [["auth", 0.0], ["tcp", 1.0], ["auth", 2.0]]

    def test_a_phase_set_again_goes_on(self) -> None:
        assert a_second_each(Phase.TCP, Phase.TCP)["entered"] == [["tcp", 0.0]]
        assert a_second_each(Phase.TCP, Phase.TCP)["phases"] == {"tcp": 2.0}

    def test_what_comes_before_the_first_phase_counts_to_it(self) -> None:
        course = Course(10.0)
        course.enter(Phase.DNS, 10.5)
        assert course.detail(12.0) == {"duration": 2.0, "phases": {"dns": 2.0}, "entered": [["dns", 0.0]]}

    def test_a_presumed_connect_was_none_when_a_lookup_follows(self) -> None:
        course = Course(0.0)
        course.presume(Phase.TCP, 0.0)
        course.enter(Phase.DNS, 0.25)
        course.enter(Phase.TCP, 1.0)
        assert course.detail(3.0)["phases"] == {"dns": 1.0, "tcp": 2.0}

    def test_a_real_connect_stays_one_when_a_lookup_follows(self) -> None:
        assert a_second_each(Phase.TCP, Phase.DNS)["phases"] == {"tcp": 1.0, "dns": 1.0}

    def test_a_presumed_connect_stays_one_when_a_login_follows(self) -> None:
        course = Course(0.0)
        course.presume(Phase.TCP, 0.0)
        course.enter(Phase.AUTH, 1.0)
        assert course.detail(3.0)["phases"] == {"tcp": 1.0, "auth": 2.0}

    def test_without_any_phase_there_is_the_duration(self) -> None:
        assert Course(5.0).detail(5.5) == {"duration": 0.5, "phases": {}, "entered": []}

    def test_the_figures_are_told_to_the_microsecond(self) -> None:
        course = Course(0.1)
        course.enter(Phase.TCP, 0.1)
        assert course.detail(0.4) == {"duration": 0.3, "phases": {"tcp": 0.3}, "entered": [["tcp", 0.0]]}


class TestEvents:
    @virtual
    async def test_connected_tells_every_phase_and_all_in_all(self) -> None:
        notes = Notes()
        async with supervise(Slow(), connect_timeout=60, subscribers=[notes]):
            pass
        (connected,) = notes.of(*ENDS)
        assert connected.detail == {
            "duration": 21.0,
            "phases": {"dns": 1.0, "tcp": 2.0, "tls": 3.0, "auth": 4.0, "restore": 5.0, "ready": 6.0},
            "entered": [
                ["dns", 0.0], ["tcp", 1.0], ["tls", 3.0], ["auth", 6.0], ["restore", 10.0], ["ready", 15.0],
            ],
        }  # fmt: skip

    @virtual
    async def test_a_failed_attempt_tells_where_its_time_went(self) -> None:
        notes = Notes()
        async with supervise(Slow(), connect_timeout=8, subscribers=[notes]):
            pass
        (failed,) = notes.of(Kind.ATTEMPT_FAILED)
        assert failed.detail["phases"] == {"dns": 1.0, "tcp": 2.0, "tls": 3.0, "auth": 2.0}
        assert failed.detail["duration"] == 8.0
        assert failed.cause is not None
        assert failed.cause.phase is Phase.AUTH

    @virtual
    async def test_each_attempt_is_timed_by_itself(self) -> None:
        notes = Notes()
        connector = ScriptedConnector([Accept(after=1, lasts=50), REFUSED, Hang(), Accept(after=2)])
        async with supervise(connector, subscribers=[notes]):
            await asyncio.sleep(100)
        assert [(event.kind, event.detail["duration"]) for event in notes.of(*ENDS)] == [
            (Kind.CONNECTED, 1.0),
            (Kind.ATTEMPT_FAILED, 0.0),
            (Kind.ATTEMPT_FAILED, 10.0),
            (Kind.RECONNECTED, 2.0),
        ]

    @virtual
    async def test_a_connection_that_dies_in_mid_attempt_tells_it_too(self) -> None:
        notes = Notes()
        connector = Misbehaving(restore=forever)
        starting = asyncio.ensure_future(supervise_and_start(connector, notes))
        await asyncio.sleep(3)
        connector.opened[0].lose()
        reconnector = await starting
        assert notes.of(Kind.ATTEMPT_FAILED)[0].detail["phases"] == {"tcp": 0.0, "restore": 3.0}
        await reconnector.stop()

    @virtual
    async def test_asking_for_a_credential_counts_to_the_login(self) -> None:
        async def ask() -> str:
            await asyncio.sleep(2)
            return "secret"

        notes = Notes()
        connector = ScriptedConnector([Accept(after=1)], phase=Phase.AUTH)
        async with supervise(connector, credentials=ask, subscribers=[notes]):
            pass
        (connected,) = notes.of(Kind.CONNECTED)
        assert connected.detail["phases"] == {"auth": 3.0, "tcp": 0.0, "restore": 0.0, "ready": 0.0}
        assert connected.detail["entered"][:3] == [["auth", 0.0], ["tcp", 2.0], ["auth", 2.0]]

    @virtual
    async def test_no_other_event_carries_it(self) -> None:
        notes = Notes()
        connector = ScriptedConnector([Accept(lasts=1), REFUSED, Accept()])
        async with supervise(connector, subscribers=[notes]) as r:
            await asyncio.sleep(20)
            r.pause()
        assert {event.kind for event in notes if "phases" in event.detail} == set(ENDS)
        assert len(set(notes.kinds)) > 6


async def supervise_and_start(connector: ScriptedConnector, notes: Notes) -> Any:
    reconnector = supervise(connector, subscribers=[notes])
    await reconnector.start()
    return reconnector


@virtual
async def test_an_open_connection_keeps_nothing_of_it() -> None:
    connector = ScriptedConnector()
    async with supervise(connector):
        attempt: Any = connector.opened[0].attempt
        assert attempt._course is None
        attempt.phase = Phase.AUTH  # a driver that logs in again
        assert attempt.phase is Phase.AUTH
        assert attempt._course is None
        await settle()
