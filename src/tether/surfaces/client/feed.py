"""The live feed as one more connection that tether keeps alive: lost, it comes back and resumes where it was."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from tether.core.cause import Cause, Code, Phase, Verdict
from tether.core.events import Kind, ReconnectEvent
from tether.core.lifecycle import Status
from tether.ports import Attempt, Connector
from tether.runtime.classify import network_rule, through_chain
from tether.surfaces.client.ask import AskFailed, refused
from tether.surfaces.client.target import Target

LONGEST_LINE = 1 << 20
"""Characters; what is longer is no event of ours."""

_network = through_chain(network_rule)

OnFrame = Callable[[str, dict[str, Any]], None]
"""``on_frame(name, data)``: the name of a server-sent event (``message`` unless it has another), and its data."""


@dataclass(slots=True, eq=False)
class Listening:
    """An open feed."""

    client: httpx.AsyncClient
    response: httpx.Response
    reading: asyncio.Task[None] | None = None


def feed_rule(error: BaseException, phase: Phase) -> Verdict:
    """Classify what httpx raises, and what the API refuses."""
    if isinstance(error, AskFailed):
        return Cause(Code.AUTH if error.exit_code == 77 else Code.SERVER_ERROR, Phase.AUTH, error)
    if isinstance(error, httpx.TimeoutException):
        return Code.TIMEOUT
    if isinstance(error, httpx.TransportError):
        return _network(error, phase) or Cause(Code.EOF, phase, error)
    return None


class FeedConnector(Connector[Listening]):
    """Joins the feed to the runtime.

    Args:
        target: the API.
        on_frame: told of everything that comes.
        connection: the only connection to hear of; '' for all.
        replay: past events to begin with.
    """

    kind = "tether"
    rules = (feed_rule,)
    driver_modules = ("httpx", "httpcore")

    def __init__(self, target: Target, on_frame: OnFrame, *, connection: str = "", replay: int = 0) -> None:
        self.endpoint = target.url
        self.secrets = (target.token,) if target.token else ()
        self._target, self._on_frame = target, on_frame
        self._query: dict[str, Any] = {"connection": connection, "replay": replay}
        self._last_event_id = ""
        self._closing: set[asyncio.Task[None]] = set()

    async def open(self, attempt: Attempt) -> Listening:
        """Ask for the feed, from where it was left."""
        client = httpx.AsyncClient(timeout=httpx.Timeout(5.0, read=None), trust_env=False)
        try:
            headers = dict(self._target.headers)
            if self._last_event_id:
                headers["last-event-id"] = self._last_event_id
            url = f"{self._target.url}/api/v1/events"
            request = client.build_request("GET", url, headers=headers, params=self._query)
            response = await client.send(request, stream=True)
            if not response.is_success:
                await response.aread()
                raise refused(self._target, response)
        except BaseException:
            await client.aclose()
            raise
        handle = Listening(client, response)
        handle.reading = asyncio.create_task(self._read(handle, attempt), name="tether tail")
        return handle

    async def _read(self, handle: Listening, attempt: Attempt) -> None:
        try:
            async for name, data in frames(handle.response, self._remember):
                self._on_frame(name, data)
        except Exception as error:  # noqa: BLE001 - whatever ends the feed is a loss, and the rule says of which kind
            attempt.lost(error)
        else:
            attempt.lost(EOFError("the feed ended"))

    def _remember(self, event_id: str) -> None:
        self._last_event_id = event_id

    async def probe(self, handle: Listening) -> None:
        """Ask whether the process is alive: the feed itself may be silent for long."""
        response = await handle.client.get(f"{self._target.url}/livez", timeout=5.0)
        response.raise_for_status()

    def abort(self, handle: Listening) -> None:
        """Drop it, soon: httpx has no way of doing that at once."""
        task = asyncio.get_running_loop().create_task(_close(handle), name="tether tail close")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self, handle: Listening) -> None:
        """Close it."""
        await _close(handle)

    async def settled(self) -> None:
        """Wait, for a second at most, until what was dropped is closed."""
        if self._closing:
            await asyncio.wait(self._closing, timeout=1)


async def _close(handle: Listening) -> None:
    if handle.reading is not None:
        handle.reading.cancel()
        await asyncio.wait({handle.reading})
    with contextlib.suppress(Exception):  # a dead connection may raise anything
        await handle.client.aclose()


async def frames(
    response: httpx.Response, remember: Callable[[str], None]
) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Read server-sent events (WHATWG HTML, 9.2): their name and their data, which is JSON here."""
    name, data = "message", ""
    async for line in response.aiter_lines():
        if len(line) > LONGEST_LINE:
            raise EOFError("a line of the feed is longer than any event")
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if key == "id":
            remember(value)
        elif key == "event":
            name = value
        elif key == "data":
            data += value
        elif not line:
            if data:
                yield name, json.loads(data)
            name, data = "message", ""


def event_of(data: dict[str, Any]) -> ReconnectEvent | None:
    """Return the event that ``ReconnectEvent.as_dict`` made ``data`` of; ``None`` for a kind that we do not know."""
    try:
        code = data["cause"]
        cause = (
            None
            if code is None
            else Cause(Code(code), Phase(data["phase"]), detail=data.get("cause_detail", ""))
        )
        return ReconnectEvent(
            kind=Kind(data["kind"]),
            connection=data["connection"],
            status=Status(data["status"]),
            timestamp=datetime.fromisoformat(data["timestamp"]),
            type=data.get("type", ""),
            generation=data["generation"],
            retry_count=data["retry_count"],
            cause=cause,
            message=data["message"],
            endpoint=data["endpoint"],
            delay=data["delay"],
            elapsed=data["elapsed"],
            detail=data["detail"],
        )
    except (KeyError, ValueError, TypeError):  # of another version of tether
        return None
