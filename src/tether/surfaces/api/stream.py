"""Sends the live feed to one client, and drops a client that does not read."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tether.surfaces.api.feed import Feed, Position

logger = logging.getLogger("tether.api")

KEEP_ALIVE = 15.0
"""Seconds of silence after which a comment is sent, so that proxies keep the connection and a dead one is noticed."""

STALL_TIMEOUT = 10.0
"""Seconds that one write may wait for a client that does not read; then the client is dropped. It can resume."""

PACE = 0.1
"""Seconds between two writes: the first event after a silence goes out at once, a flood in bunches."""

_HEADERS = {
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # nginx would hold events back
    "connection": "close",  # it ends with the connection; nothing comes after it
}

Abort = Callable[[Scope], None]


class EventStream(Response):
    """``text/event-stream`` of a feed, until the client goes or the feed is closed.

    Args:
        feed: what to send.
        position: from where on.
        hello: what to send first.
        abort: drops the client's connection without a goodbye.
        left: called once when it is over.
        stall_timeout: see ``STALL_TIMEOUT``.
        keep_alive: see ``KEEP_ALIVE``.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        feed: Feed,
        position: Position,
        hello: bytes,
        *,
        abort: Abort,
        left: Callable[[], None],
        stall_timeout: float = STALL_TIMEOUT,
        keep_alive: float = KEEP_ALIVE,
    ) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]  # nobody knows
        self._feed, self._position, self._hello = feed, position, hello
        self._abort, self._left = abort, left
        self._stall_timeout, self._keep_alive = stall_timeout, keep_alive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until one of both sides ends it."""
        sending = asyncio.create_task(self._send(send), name="tether events")
        leaving = asyncio.create_task(_gone(receive), name="tether events reader")
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        except TimeoutError:
            logger.warning("a reader of events does not read; it was dropped, and can resume")
            self._abort(scope)
        finally:
            self._left()
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send(self, send: Send) -> None:
        async with asyncio.timeout(self._stall_timeout):
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
        await self._write(send, self._hello)
        await self._follow(send)
        with contextlib.suppress(TimeoutError):  # the process is ending: no need to tell of a slow reader
            await self._write(send, b": the server is stopping\n\n", more=False)

    async def _follow(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        silent_since = loop.time()
        while self._feed.is_open:
            is_new = await self._feed.news(self._position, silent_since + self._keep_alive - loop.time())
            chunk = self._feed.take(self._position) if is_new else b""
            # What happens to others may leave a reader with a filter in silence: the clock decides, not the news.
            if not chunk and loop.time() >= silent_since + self._keep_alive:
                chunk = self._feed.keep_alive(self._position)
            if chunk:
                await self._write(send, chunk)
                silent_since = loop.time()
            await asyncio.sleep(PACE if is_new else 0)

    async def _write(self, send: Send, body: bytes, *, more: bool = True) -> None:
        async with asyncio.timeout(self._stall_timeout):
            await send({"type": "http.response.body", "body": body, "more_body": more})


async def _gone(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
