"""A forked child: nothing of the parent's is touched, everything refuses clearly, and ``start()`` works anew."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.forking import Child, Runner, run_uvloop
from tests.runtime.support import Misbehaving, Notes, forever, supervise
from tether import Reconnector, Status, UsageError
from tether.core.events import Kind
from tether.ports import Attempt, Connector
from tether.runtime import fork
from tether.runtime.dialing import Stream, open_stream
from tether.testing.scripted import Accept, Hang, Outcome, ScriptedConnector

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]

ON_BOTH_LOOPS = pytest.mark.parametrize("run", [asyncio.run, run_uvloop])

Refused = dict[str, str]


async def _all_refused(r: Reconnector[Any], guard: Any) -> Refused:
    """Call everything that needs a started connection, and return what each raised."""

    async def enter() -> None:
        async with guard:
            pass

    async def call(what: Callable[[], Any]) -> None:
        result = what()
        if hasattr(result, "__await__"):
            await result

    calls: dict[str, Callable[[], Any]] = {
        "run": lambda: r.run(lambda c: c),
        "run with a timeout": lambda: r.run(lambda c: c, timeout=1),
        "run idempotent": lambda: r.run(lambda c: c, idempotent=True),
        "guard": enter,
        "client": lambda: r.client,
        "stop": r.stop,
        "wait_connected": lambda: r.wait_connected(1),
        "reconnect": r.reconnect,
        "pause": r.pause,
        "resume": r.resume,
        "network_changed": r.network_changed,
        "credential_changed": r.credential_changed,
        "report": lambda: r.report(OSError(), r.generation),
    }
    told = {}
    for name, what in calls.items():
        with pytest.raises(UsageError) as caught:
            await call(what)
        told[name] = str(caught.value)
    return told


@ON_BOTH_LOOPS
def test_all_that_was_obtained_before_refuses_clearly_and_start_works_anew(run: Runner) -> None:
    async def main() -> None:
        connector, notes = ScriptedConnector(), Notes()
        r = supervise(connector, subscribers=[notes])
        await r.start()
        guard = r.guard()

        async def child() -> Any:
            before = (r.status, r.is_connected, r.is_started, r.stats().next_attempt_in, len(notes))
            told = await _all_refused(r, guard)
            await r.start()
            value = await r.run(lambda c: c.generation)
            await r.stop()
            return before, told, value, notes.kinds[-1]

        heard = len(notes)
        before, told, value, last = await Child(lambda: run(child()))
        assert before == (Status.DISCONNECTED, False, False, None, heard)
        assert set(told.values()) == {"db was started in another process; call start() here"}
        assert (value, last) == (2, Kind.STOPPED)
        assert (r.is_connected, len(notes), len(connector.dials)) == (True, heard, 1)
        assert await r.run(lambda c: c.generation) == 1
        await r.stop()

    run(main())


@ON_BOTH_LOOPS
@pytest.mark.parametrize(
    "state", ["dialing", "waiting", "degraded", "failed", "paused", "calling", "reading"]
)
def test_in_every_state_a_child_starts_from_nothing(run: Runner, state: str) -> None:
    outcomes: dict[str, Outcome] = {"dialing": Hang(), "waiting": ConnectionRefusedError(111, "x")}
    outcomes["failed"] = outcomes["waiting"]
    connector = Misbehaving([outcomes.get(state, Accept())])
    if state == "degraded":
        connector = Misbehaving(restore=lambda _: _missing())

    async def main() -> None:
        r = supervise(connector, max_retries=0 if state == "failed" else None)
        others = [asyncio.create_task(r.start())]
        await asyncio.sleep(0.02)
        if state == "paused":
            r.pause()
        elif state == "calling":
            others.append(asyncio.create_task(r.run(forever)))
        elif state == "reading":
            others.append(asyncio.create_task(_read(r)))
        await asyncio.sleep(0)
        status = r.status
        told = await Child(lambda: run(_life(r, connector)))
        assert told == (Status.DISCONNECTED, 0, True)
        assert r.status is status
        assert all(task.cancel() or task.done() for task in others)
        await asyncio.wait(others)
        await r.stop()
        assert r.status is Status.DISCONNECTED

    run(main())


async def _life(r: Reconnector[Any], connector: ScriptedConnector) -> Any:
    """Return the status and number of calls to begin with, and whether it could be started; stop it."""
    connector.then, connector._script = Accept(), iter([])
    before = (r.status, len(r._engine.calls))
    await r.start()
    connected = r.is_connected
    await r.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return (*before, connected)


async def _missing() -> list[str]:
    return ["a"]


async def _read(r: Reconnector[Any]) -> None:
    async for _ in r.events():
        pass


def test_what_was_never_started_or_is_stopped_can_be_started_and_stopped_in_the_child() -> None:
    fresh, stopped = supervise(ScriptedConnector()), supervise(ScriptedConnector())

    async def parent() -> None:
        await stopped.start()
        await stopped.stop()

    async def child() -> list[bool]:
        up = []
        for r in (fresh, stopped):
            await r.stop()  # with nothing running: no misuse
            await r.start()
            up.append(r.is_connected)
            await r.stop()
        return up

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(parent())
        assert Child(lambda: asyncio.run(child())).join() == [True, True]
    finally:
        loop.close()


def test_a_stream_of_events_of_the_parent_ends_in_the_child() -> None:
    async def main() -> None:
        r = supervise(ScriptedConnector())
        stream = r.events()
        await r.start()

        async def child() -> list[Kind]:
            return [event.kind async for event in stream]

        assert await Child(lambda: asyncio.run(child())) == [
            Kind.STARTED,
            Kind.ATTEMPT_STARTED,
            Kind.CONNECTED,
        ]
        await r.stop()
        assert [event.kind async for event in stream][-1] is Kind.STOPPED

    asyncio.run(main())


def test_a_callback_under_way_does_not_go_on_in_the_child_and_works_after_start() -> None:
    async def main() -> None:
        r, called = supervise(ScriptedConnector()), Notes()

        @r.on_connect
        async def slow() -> None:
            called("began")
            await asyncio.sleep(0.05)
            called("ended")

        await r.start()
        await asyncio.sleep(0.01)
        assert called == ["began"]

        async def child() -> list[str]:
            await asyncio.sleep(0.1)
            called("started")
            await r.start()
            await asyncio.sleep(0.1)
            await r.stop()
            return called

        assert await Child(lambda: asyncio.run(child())) == ["began", "started", "began", "ended"]
        assert called == ["began", "ended"]
        await r.stop()

    asyncio.run(main())


def test_a_child_of_a_child_is_a_child() -> None:
    r = supervise(ScriptedConnector())

    async def life() -> bool:
        await r.start()
        return r.is_connected

    def grandchild() -> Any:
        return r.status.value, asyncio.run(life())

    async def child() -> Any:
        await r.start()
        told = await Child(grandchild)
        return told, r.is_connected

    async def main() -> None:
        await r.start()
        assert await Child(lambda: asyncio.run(child())) == (("disconnected", True), True)
        assert r.is_connected
        await r.stop()

    asyncio.run(main())


def test_no_reconnector_is_kept_alive_by_being_remembered() -> None:
    remembered = [weakref.ref(supervise(ScriptedConnector())) for _ in range(3)]
    gc.collect()
    assert [r() for r in remembered] == [None] * 3


NULL_DEVICE = Path(os.devnull).stat().st_rdev


class Echo(Connector[Stream]):
    """A connection to the server of a test, on a socket of tether's own dialing."""

    kind = "echo"

    def __init__(self, port: int) -> None:
        self._port = port

    async def open(self, attempt: Attempt) -> Stream:
        return await open_stream("127.0.0.1", self._port, attempt)

    async def probe(self, handle: Stream) -> None:
        reader, writer = handle
        writer.write(b"x")
        await reader.readexactly(1)

    def abort(self, handle: Stream) -> None:
        handle[1].transport.abort()


@ON_BOTH_LOOPS
def test_the_parents_socket_is_closed_in_the_child_and_goes_on_in_the_parent(run: Runner) -> None:
    """The server sees nothing: not when the child lets go, not when it ends, not when it cleans up."""
    ended = Notes()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(100):
            writer.write(chunk)
        ended("end of file")
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        r: Reconnector[Stream] = Reconnector(Echo(server.sockets[0].getsockname()[1]), name="echo")
        await r.start()
        _, writer = r.client
        descriptor = writer.get_extra_info("socket").fileno()

        def child() -> Any:
            device = os.fstat(descriptor).st_rdev
            writer.write(b"never seen")
            writer.transport.abort()  # what a cleanup would do
            gc.collect()
            return device

        assert await Child(child) == NULL_DEVICE
        assert await r.run(_echo) == b"hello"
        assert (r.is_connected, ended, len(fork._left)) == (True, [], 0)
        await r.stop()
        await asyncio.sleep(0.05)
        assert ended == ["end of file"]  # no child holds it open
        server.close()
        await server.wait_closed()

    run(main())


async def _echo(stream: Stream) -> bytes:
    reader, writer = stream
    writer.write(b"hello")
    return await reader.readexactly(5)


def test_letting_go_leaves_out_what_is_closed() -> None:
    a, b = socket.socketpair()
    with a, b:
        fork.let_go([-1, a.fileno()])
        assert b.recv(1) == b""
