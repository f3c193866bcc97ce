"""What the API's tests share: connections in every state, a client without sockets, and a server with them."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, ParamSpec

import httpx

from tether import Reconnector
from tether.backoff import fixed_interval
from tether.surfaces.api import create_app
from tether.surfaces.api.server import ApiServer
from tether.surfaces.supervisor import Supervisor
from tether.testing.scripted import Accept, Hang, Outcome, ScriptedConnector

P = ParamSpec("P")

CONNECTIONS = "/api/v1/network/connections"
EVENTS = "/api/v1/events"
SECRET = "hunter2-is-a-secret"
DEADLINE = 15.0
"""Seconds after which a test on real sockets has failed; nothing is measured with it."""


def real(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test on an ordinary loop, within a deadline; when it ends, no task may be left."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(_leaving_nothing(test(*args, **kwargs)))

    return run


async def _leaving_nothing(test: Coroutine[Any, Any, None]) -> None:
    async with asyncio.timeout(DEADLINE):
        await test
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks left behind: {left}"


async def eventually(condition: Callable[[], Any], what: str = "") -> Any:
    """Wait until ``condition()`` is true, and return what it answered."""
    try:
        async with asyncio.timeout(DEADLINE / 2):
            while not (answer := condition()):  # noqa: ASYNC110 - what is waited for sets no event
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"never came true: {what or condition}") from None
    return answer


def scripted(name: str, *script: Outcome, then: Outcome | None = None, **options: Any) -> Reconnector[Any]:
    """Return a reconnector whose dials end as the script says; it sleeps 60 s between two."""
    usual: dict[str, Any] = {"retry_interval": fixed_interval(60), "health_check": False}
    connector = ScriptedConnector(script, then=then)
    return Reconnector(connector, name=name, quick_first_retry=False, **usual | options)


def held(supervisor: Supervisor, name: str) -> Any:
    """Return the reconnector of that name."""
    return supervisor.manager.get(name)


def connector_of(supervisor: Supervisor, name: str) -> ScriptedConnector:
    """Return what a member dials with."""
    connector = held(supervisor, name)._engine.connector
    assert isinstance(connector, ScriptedConnector)
    return connector


STATES = ("up", "dialing", "sleeping", "failed", "paused", "broken", "idle", "back")


@asynccontextmanager
async def world() -> AsyncIterator[Supervisor]:
    """Give connections in every state, each named after its own; ``back`` was lost and has come back."""
    refused = ConnectionRefusedError
    supervisor = Supervisor()
    supervisor.add("up", scripted("up"), url=f"redis://user:{SECRET}@cache:6379/0", required=True)
    supervisor.add("dialing", scripted("dialing", then=Hang()), depends_on=["up"])
    supervisor.add("sleeping", scripted("sleeping", Accept(), then=refused))
    supervisor.add("failed", scripted("failed", then=refused, max_retries=0))
    supervisor.add("paused", scripted("paused", Accept()))
    url = f"redis://:{SECRET}@nowhere"
    supervisor.add_broken("broken", ValueError(f"no such option in {url}"), type="redis", url=url)
    supervisor.add(
        "back", scripted("back", Accept(), Accept(after=0.001), retry_interval=fixed_interval(0.001))
    )
    supervisor.start()
    try:
        await eventually(lambda: held(supervisor, "back").is_connected)
        await eventually(lambda: held(supervisor, "sleeping").is_connected)
        connector_of(supervisor, "back").live[0].lose()
        connector_of(supervisor, "sleeping").live[0].lose(ConnectionResetError(104, f"token={SECRET}"))
        held(supervisor, "paused").pause()
        await eventually(lambda: held(supervisor, "back").stats().reconnects == 1)
        await eventually(lambda: held(supervisor, "failed").status == "failed")
        supervisor.add("idle", scripted("idle"))
        yield supervisor
    finally:
        await supervisor.stop()


def client_of(app: Any, **options: Any) -> httpx.AsyncClient:
    """Return a client of ``app`` without sockets."""
    options = {"base_url": "http://127.0.0.1:8000"} | options
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), **options)


@asynccontextmanager
async def asking(supervisor: Supervisor | None = None, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of an app over the connections."""
    app = create_app(supervisor or Supervisor(), **options)
    async with client_of(app) as client:
        yield client
    app.state.close()


@asynccontextmanager
async def serving(
    supervisor: Supervisor | None = None, **options: Any
) -> AsyncIterator[tuple[ApiServer, httpx.AsyncClient]]:
    """Give a server on a free port, and a client of it."""
    server = ApiServer("127.0.0.1", 0)
    await server.bind()
    app = create_app(supervisor or Supervisor(), abort=server.abort, **options)
    await server.start(app)
    try:
        async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=DEADLINE) as client:
            yield server, client
    finally:
        app.state.close()
        await server.stop()


class Reader:
    """Reads events.

    Attributes:
        comments: what was said beside the events.
        ids: of all that came, also those of frames without data.
    """

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.comments: list[str] = []
        self.ids: list[str] = []
        self._lines = response.aiter_lines()

    async def next(self) -> tuple[str, dict[str, Any]]:
        """Return the next event: its name, and its data."""
        name = "message"
        async for line in self._lines:
            key, _, value = line.partition(": ")
            if line.startswith(":"):
                self.comments.append(line[2:])
            elif key == "id":
                self.ids.append(value)
            elif key == "event":
                name = value
            elif key == "data":
                return name, json.loads(value)
        raise EOFError("the stream has ended")

    async def until(self, kind: str) -> dict[str, Any]:
        """Return the next event of one kind."""
        while True:
            _, data = await self.next()
            if data.get("kind") == kind:
                return data


@asynccontextmanager
async def reading(client: httpx.AsyncClient, **query: Any) -> AsyncIterator[Reader]:
    """Give a reader of the feed."""
    headers = {"last-event-id": query.pop("last_event_id")} if "last_event_id" in query else {}
    async with client.stream("GET", EVENTS, params=query, headers=headers) as response:
        assert response.status_code == 200
        yield Reader(response)


def frames(raw: bytes) -> list[dict[str, str]]:
    """Parse server-sent events as WHATWG HTML 9.2 says, those without data included."""
    parsed = []
    for block in raw.decode().split("\n\n")[:-1]:
        lines = [line.partition(": ") for line in block.split("\n") if not line.startswith(":")]
        parsed.append({key: value for key, _, value in lines})
    return parsed
