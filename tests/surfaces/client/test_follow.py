"""``tether tail``: the feed in words, across a restart of the daemon."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest
from rich.console import Console

from tests.surfaces.client.conftest import Served
from tests.surfaces.client.events import event
from tether.core.cause import Cause, Code, Phase
from tether.core.events import Kind, ReconnectEvent
from tether.surfaces.api import Access
from tether.surfaces.client.ask import AskFailed
from tether.surfaces.client.feed import event_of
from tether.surfaces.client.follow import Printer, follow
from tether.surfaces.client.target import Target


async def tailing(out: io.StringIO, url: str, token: str = "", **wanted: Any) -> None:
    printer = Printer(Console(file=out, width=200), as_json=wanted.pop("as_json", False))
    await follow(Target(url, token), printer, **{"connection": "", "replay": 100, **wanted})


async def until(out: io.StringIO, text: str) -> None:
    async with asyncio.timeout(10):
        while text not in out.getvalue():  # noqa: ASYNC110 - what is waited for comes from another thread
            await asyncio.sleep(0.01)


async def started(served: Served, out: io.StringIO, **wanted: Any) -> asyncio.Task[None]:
    return asyncio.create_task(tailing(out, served.url, **wanted))


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_words(served: Served) -> None:
    async def main() -> None:
        out = io.StringIO()
        task = await started(served, out)
        await until(out, "orders  try 1 failed: refused (connection refused); next in 1m")
        served.call(lambda: served.supervisor.reconnect("cache"))
        await until(out, "cache   closed: reconnect was requested")
        await until(out, "cache   connected again")
        await ended(task)

    asyncio.run(main())


def test_json(served: Served) -> None:
    async def main() -> None:
        out = io.StringIO()
        task = await started(served, out, as_json=True, connection="cache")
        served.call(lambda: served.supervisor.pause("cache"))
        await until(out, '"paused"')
        await ended(task)
        told = [json.loads(line) for line in out.getvalue().splitlines()]
        assert {data["connection"] for data in told} == {"cache"}
        assert told[-1]["kind"] == "paused"

    asyncio.run(main())


def test_a_restarted_daemon_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        first, out = Served(), io.StringIO()
        task = await started(first, out)
        await until(out, "orders  try 1 failed")
        await asyncio.to_thread(first.close)
        second = await asyncio.to_thread(Served, None, int(first.url.rpartition(":")[2]))
        try:
            await until(out, "-- the daemon was restarted")
        finally:
            await ended(task)
            await asyncio.to_thread(second.close)

    asyncio.run(main())
    assert "lost: eof (connection dropped)" in capsys.readouterr().err


def test_nobody_there_at_first() -> None:
    with pytest.raises(AskFailed, match=r"nothing answers on http://127\.0\.0\.1:9 ") as failed:
        asyncio.run(tailing(io.StringIO(), "http://127.0.0.1:9"))
    assert failed.value.exit_code == 69


@pytest.mark.parametrize("token", ["", "wrong-token"])
def test_a_bad_token_ends_it(guarded: Served, token: str) -> None:
    with pytest.raises(AskFailed, match="send the read token") as failed:
        asyncio.run(tailing(io.StringIO(), guarded.url, token))
    assert failed.value.exit_code == 77


def test_a_token_that_is_changed_ends_it(guarded: Served) -> None:
    async def main() -> None:
        out = io.StringIO()
        task = asyncio.create_task(tailing(out, guarded.url, "read-token-1"))
        await until(out, "orders  try 1 failed")
        await asyncio.to_thread(guarded.close)
        changed = await asyncio.to_thread(Served, Access("read-token-2"), int(guarded.url.rpartition(":")[2]))
        try:
            with pytest.raises(AskFailed, match="send the read token"):
                await asyncio.wait_for(task, 20)
        finally:
            await asyncio.to_thread(changed.close)

    asyncio.run(main())


def test_an_event_survives_the_wire() -> None:
    told = event(
        Kind.LOST,
        cause=Cause(Code.RESET, Phase.READY, detail="reset_by_peer"),
        message="gone",
        elapsed=2.5,
        detail={"a": 1},
    )
    assert event_of(json.loads(json.dumps(told.as_dict()))) == told
    assert isinstance(told, ReconnectEvent)


@pytest.mark.parametrize("change", [{"kind": "of the future"}, {"cause": "new"}, {"timestamp": 5}])
def test_events_of_another_version_are_passed_over(change: dict[str, Any]) -> None:
    assert event_of(event(Kind.LOST).as_dict() | change) is None
    assert event_of({}) is None
