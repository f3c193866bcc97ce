"""One request to the API, and what its failure means for the person who asked."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx

from tether.core.redact import redact
from tether.errors import TetherError
from tether.surfaces.client.target import Target

TIMEOUT = 5.0
"""Seconds for an answer."""

REFUSED, UNREACHABLE, NOT_ALLOWED = 1, 69, 77
"""Exit codes: the API said no; nothing answers (EX_UNAVAILABLE); the token is missing or not enough (EX_NOPERM)."""

_CONNECTIONS = "/api/v1/network/connections"


class AskFailed(TetherError):
    """The API did not do what was asked; the message says why, and the mend.

    Attributes:
        exit_code: for the command line.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def connections(target: Target) -> dict[str, Any]:
    """Return all connections, by name. Raises ``AskFailed``."""
    answer: dict[str, Any] = _request(target, "GET", _CONNECTIONS)
    return dict(answer["connections"])


def command(target: Target, name: str, verb: str) -> dict[str, Any]:
    """Have a connection ``reconnect``, ``pause`` or ``resume``; returns it as it is then. Raises ``AskFailed``."""
    answer: dict[str, Any] = _request(target, "POST", f"{_CONNECTIONS}/{quote(name, safe='')}/{verb}")
    return answer


def known(target: Target, name: str) -> None:
    """Raise ``AskFailed`` when there is no connection of that name."""
    _request(target, "GET", f"{_CONNECTIONS}/{quote(name, safe='')}")


def _request(target: Target, method: str, path: str) -> Any:
    try:
        # Only what is asked for: no proxy of the environment between here and a daemon on this machine.
        with httpx.Client(timeout=TIMEOUT, trust_env=False) as client:
            response = client.request(method, target.url + path, headers=target.headers)
    except httpx.TransportError as error:
        raise unreachable(target, error) from None
    if response.is_success:
        return _body(response, target)
    raise refused(target, response)


def _body(response: httpx.Response, target: Target) -> Any:
    try:
        return response.json()
    except ValueError:
        raise _not_ours(target) from None


def unreachable(target: Target, error: Exception) -> AskFailed:
    """Return the failure for an API that does not answer as it should."""
    said = redact(str(error)) or "no answer"
    if isinstance(error, httpx.ProtocolError | httpx.ReadError) or "SSL" in said:
        return _not_ours(target, said)
    why = "no answer in time" if isinstance(error, httpx.TimeoutException) else said
    text = f"nothing answers on {target.url} ({why}); start it with 'tether run', or name another with --url"
    return AskFailed(text, UNREACHABLE)


def _not_ours(target: Target, why: str = "") -> AskFailed:
    said = f" ({why})" if why else ""
    return AskFailed(
        f"what answers on {target.url} is not tether's API{said}; name it with --url", UNREACHABLE
    )


def refused(target: Target, response: httpx.Response) -> AskFailed:
    """Return the failure for an answer that is no success."""
    detail = _detail(response)
    status = response.status_code
    if status in {401, 403}:
        mend = "; set TETHER_TOKEN" if status == 401 and not target.token else ""
        return AskFailed(f"{target.url} refuses: {detail}{mend}", NOT_ALLOWED)
    if status == 404 and detail in {"", "Not Found"}:  # not even the path is there
        return _not_ours(target)
    return AskFailed(detail or f"{target.url} answers {status}", REFUSED)


def _detail(response: httpx.Response) -> str:
    try:
        body = response.json()
    except ValueError:
        return ""
    return (
        str(body.get("detail", "")) if isinstance(body, dict) else ""
    )  # of our own making: it holds no secret
