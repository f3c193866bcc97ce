"""What every request passes before it comes to the routes: plain ASGI, and no knowledge of connections."""

from __future__ import annotations

import logging
import re
import traceback
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tether.core.redact import describe
from tether.surfaces.api.problems import Refused, problem

logger = logging.getLogger("tether.api")

_SLASH = re.compile(rb"%2f", re.IGNORECASE)


class Unexpected:
    """Answers an error of our own as a problem, and logs it without the secrets that its text may hold.

    Left to the framework it would be raised once more, for the server to log, traceback and secrets included.

    Args:
        app: what comes behind.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        has_begun = False

        async def watch(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception as error:
            if scope["type"] != "http":
                raise
            _log(scope["path"], error)
            if not has_begun:
                refused = Refused(500, "the request could not be answered; the log says why", "error")
                await problem(scope["path"], refused)(scope, receive, send)


def _log(path: str, error: Exception) -> None:
    last = traceback.extract_tb(error.__traceback__)[-1]
    logger.error("answering %r failed: %s (%s:%s)", path, describe(error), last.filename, last.lineno)


class BasePath:
    """Lets the API be served under a path, whether the proxy in front takes that path off or not.

    Args:
        app: what comes behind.
        base_path: such as ``/tether``; '' for none.
    """

    def __init__(self, app: ASGIApp, base_path: str) -> None:
        self._app = app
        self._base = "/" + base_path.strip("/") if base_path.strip("/") else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._base and scope["type"] == "http":
            path, root = scope["path"], scope.get("root_path", "")
            if path == self._base:
                path += "/"
            elif not path.startswith(f"{self._base}/"):
                path = self._base + path
            scope = {**scope, "path": path, "root_path": self._base + root}
        await self._app(scope, receive, send)


class EncodedSlashes:
    """Lets names of connections hold slashes: ``%2F`` in a path divides nothing.

    Args:
        app: what comes behind.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        raw = scope.get("raw_path") or b""
        if scope["type"] == "http" and _SLASH.search(raw):
            kept = unquote(_SLASH.sub(b"%252F", raw).decode("ascii", "replace"))
            # The raw path may lack what a server or mount has put before the path.
            missing = scope["path"].removesuffix(unquote(raw.decode("ascii", "replace")))
            scope = {**scope, "path": missing + kept if missing != scope["path"] else kept}
        await self._app(scope, receive, send)


class HeadRequests:
    """Answers HEAD as GET without the body; monitors ask so.

    Args:
        app: what comes behind.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        has_ended = False

        async def headers_only(message: Message) -> None:
            nonlocal has_ended
            if message["type"] != "http.response.body":
                await send(message)
            elif not has_ended:
                # At the first part of the body: an endless one would never come to its end.
                has_ended = True
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self._app({**scope, "method": "GET"}, receive, headers_only)
