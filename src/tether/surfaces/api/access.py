"""Who may do what: two tokens, read and operate; and protection from pages that a browser has open beside.

Without tokens the API is open, and then only to clients of this machine: it asks that the ``Host`` be one of this
machine, or a page that had its own name point to 127.0.0.1 (DNS rebinding) could read along.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from hmac import compare_digest
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from tether.errors import ConfigError
from tether.surfaces.api.problems import Refused, problem

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that is bound to ``host``."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, read_token: str, operate_token: str) -> None:
    """Refuse to serve others than this machine without a token.

    Raises:
        ConfigError: ``host`` is reachable from elsewhere and there is no token.
    """
    if not (is_loopback(host) or read_token or operate_token):
        raise ConfigError(
            f"api.host: {host} can be reached from other machines, and there is no token;"
            " set api.operate_token (and api.read_token), or bind 127.0.0.1"
        )


class Access:
    """Decides about requests.

    Args:
        read_token: needed to read; '' for none: then the operate token is needed if ``is_exposed``.
        operate_token: needed to give commands, and good for reading; '' for none.
        is_exposed: whether other machines can reach the API; then nothing is open, whatever tokens there are.
        trusted_hosts: names by which an open API may be asked for, beside those of this machine.
    """

    def __init__(
        self,
        read_token: str = "",
        operate_token: str = "",
        *,
        is_exposed: bool = False,
        trusted_hosts: Sequence[str] = (),
    ) -> None:
        self._read, self._operate = read_token.encode(), operate_token.encode()
        self._is_exposed = is_exposed
        self._trusted = {_plain(host) for host in trusted_hosts}

    def check(self, request: HTTPConnection, *, operate: bool) -> None:
        """Refuse a request that may not be answered.

        Raises:
            Refused: 401 without a good token, 403 with one that is not enough or from a foreign page.
        """
        if operate and not self._operate and (self._read or self._is_exposed):
            raise Refused(403, "no command is allowed here: api.operate_token is not set")
        is_open = not (self._is_exposed or (self._operate if operate else self._read))
        if is_open:
            self._check_host(request)
        else:
            self._check_token(request, operate=operate)

    def _check_token(self, request: HTTPConnection, *, operate: bool) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = token.strip().encode("latin-1", "replace") if scheme.lower() == "bearer" else b""
        # Both are always compared, in constant time: how long it takes tells nothing.
        may_operate = compare_digest(given, self._operate) and bool(self._operate)
        may_read = compare_digest(given, self._read) and bool(self._read)
        if may_operate or (may_read and not operate):
            return
        if may_read:
            raise Refused(403, "this token may read, and not give commands")
        which = "operate" if operate or not self._read else "read"
        wrong = "this token is not known; " if given else ""
        raise Refused(
            401,
            f"{wrong}send the {which} token, as 'Authorization: Bearer …'",
            headers={"WWW-Authenticate": 'Bearer realm="tether"'},
        )

    def _check_host(self, request: HTTPConnection) -> None:
        host = _name(request.headers.get("host", ""))
        if host and (is_loopback(host) or host in self._trusted):
            return
        raise Refused(
            403,
            "asked for under a name that is not this machine's; name it in api.trusted_hosts, or set tokens",
        )


class OriginCheck:
    """Refuses commands that a page of another origin sends with the help of its reader's browser.

    Args:
        app: what comes behind.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["method"] not in _SAFE and _is_foreign(HTTPConnection(scope)):
            refused = Refused(403, "commands from pages of another origin are refused")
            await problem(scope["path"], refused)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_foreign(request: HTTPConnection) -> bool:
    headers = request.headers
    if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
        return True
    origin = headers.get("origin")
    return origin is not None and _authority(origin) != headers.get("host", "").lower()


def _authority(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def _name(authority: str) -> str:
    """Return the name in a ``Host`` header, without its port; '' if it is none."""
    if set(authority) & set("/\\?#@"):
        return ""
    try:
        return _plain(urlsplit(f"//{authority}").hostname or "")
    except ValueError:
        return ""


def _plain(host: str) -> str:
    return host.lower().strip("[]").rstrip(".")
