"""The ring of what happened: bounded, numbered, and free of exceptions."""

from __future__ import annotations

import gc
import weakref
from datetime import UTC, datetime

import pytest

from tests.runtime.support import supervise
from tether.core.cause import Cause, Code, Phase
from tether.core.events import Kind, ReconnectEvent
from tether.core.lifecycle import Status
from tether.observe.history import LIMIT, History, history
from tether.testing.clock import run_virtual
from tether.testing.scripted import Accept, ScriptedConnector


def event(
    connection: str = "db", kind: Kind = Kind.LOST, error: BaseException | None = None
) -> ReconnectEvent:
    return ReconnectEvent(
        kind=kind,
        connection=connection,
        status=Status.RECONNECTING,
        timestamp=datetime.now(UTC),
        cause=Cause(Code.RESET, Phase.READY, error),
        error=error,
        message="ConnectionResetError: x",
    )


def filled(count: int, limit: int = 10) -> History:
    ring = History(limit)
    for number in range(count):
        ring.append(event("ab"[number % 2]))
    return ring


class TestNumbers:
    def test_they_count_from_one_and_never_repeat(self) -> None:
        ring = filled(25)
        assert [entry.seq for entry in ring.since(0)] == list(range(16, 26))
        assert ring.last_seq == 25

    def test_an_empty_ring_has_nothing(self) -> None:
        ring = History()
        assert (ring.last_seq, len(ring), ring.since(0), ring.latest(5)) == (0, 0, [], [])

    def test_the_ring_is_bounded_and_the_oldest_go_first(self) -> None:
        ring = filled(1000)
        assert len(ring) == 10
        assert [entry.seq for entry in ring.latest(1000)] == list(range(991, 1001))


class TestSince:
    @pytest.mark.parametrize("count", [1, 5, 10, 11, 37])
    def test_it_gives_exactly_what_came_after(self, count: int) -> None:
        ring = filled(count)
        for seq in range(-1, count + 2):
            expected = [number for number in range(1, count + 1) if number > seq and number > count - 10]
            assert [entry.seq for entry in ring.since(seq)] == expected

    def test_read_again_and_again_it_gives_everything_once(self) -> None:
        ring = History(10)
        seen: list[int] = []
        for number in range(50):
            ring.append(event())
            if number % 7 == 0:
                seen += [entry.seq for entry in ring.since(seen[-1] if seen else 0)]
        assert seen == sorted(set(seen))
        assert seen[-1] == 50


class TestLatest:
    def test_it_gives_the_last_ones_oldest_first(self) -> None:
        ring = filled(8)
        assert [entry.seq for entry in ring.latest(3)] == [6, 7, 8]
        assert [entry.seq for entry in ring.latest(100)] == list(range(1, 9))
        assert ring.latest(0) == []

    def test_it_can_be_asked_for_one_connection(self) -> None:
        ring = filled(8)
        assert [entry.seq for entry in ring.latest(2, "a")] == [5, 7]
        assert {entry.event.connection for entry in ring.latest(100, "b")} == {"b"}
        assert ring.latest(5, "unknown") == []


class TestExceptions:
    def test_no_exception_is_kept(self) -> None:
        ring = History()
        ring.append(event(error=ValueError("x")))
        (entry,) = ring.latest(1)
        assert entry.event.error is None
        assert entry.event.cause is not None
        assert entry.event.cause.error is None
        assert (entry.event.cause.code, entry.event.message) == (Code.RESET, "ConnectionResetError: x")

    def test_what_was_alive_in_the_frames_of_an_error_is_not_kept_alive(self) -> None:
        class Big:
            pass

        refs: list[weakref.ref[Big]] = []

        def lose() -> ConnectionResetError:
            big = Big()
            refs.append(weakref.ref(big))
            try:
                raise ConnectionResetError(104, "x")
            except ConnectionResetError as error:
                return error

        async def main() -> None:
            connector = ScriptedConnector([Accept()])
            async with supervise(connector, name="history test", rules=[]) as r:
                connector.opened[0].lose(lose())
                assert refs[0]() is not None  # the reconnector keeps it, as last_error
                await r.wait_connected()

        run_virtual(main())
        gc.collect()
        assert refs[0]() is None
        kinds = [entry.event.kind for entry in history.latest(10, "history test")]
        assert Kind.LOST in kinds


def test_the_ring_of_the_process_hears_every_connection() -> None:
    async def main() -> None:
        async with supervise(ScriptedConnector(), name="one of many"):
            pass

    before = history.last_seq
    run_virtual(main())
    kinds = [entry.event.kind for entry in history.since(before) if entry.event.connection == "one of many"]
    assert kinds == [Kind.STARTED, Kind.ATTEMPT_STARTED, Kind.CONNECTED, Kind.STOPPED]
    assert len(history) <= LIMIT
