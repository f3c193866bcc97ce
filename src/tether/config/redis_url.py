"""The URL of a Redis server: whether it can work, and the secrets in it. Messages hold no piece of it.

Not even a port: a password that holds ``/`` or ``@`` unencoded is taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, TypeAlias
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pydantic import BeforeValidator, WithJsonSchema

from tether.config.leaves import bad, wrong

SCHEMES = ("redis", "rediss", "unix")
_MEND = "write redis://[user:password@]host:port/db"
_ENCODE = (
    "in a user name and a password write %40 for @, %2F for /, %3A for :, %23 for #, %3F for ?, %25 for %"
)
_SECRET_KEY = re.compile(r"pass|pwd|token|secret|auth|credential|api_?key|(^|_)key($|_)", re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
_NUMBERED = {"db": 10**9, "max_connections": 10**9, "protocol": 3}


def looks_secret(key: str) -> bool:
    """Whether a key's name says that its value is a secret."""
    return bool(_SECRET_KEY.search(key))


def _check(value: object) -> str:
    if not isinstance(value, str):
        raise wrong("text", _MEND)
    if re.search(r"[\s\x00-\x1f\x7f\\]", value):
        raise bad(f"has white space or a character that no URL has; {_MEND}, and %20 for a space")
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - raises what it finds
    except ValueError:
        raise bad(f"has no host and port that can be read; {_MEND}; {_ENCODE}") from None
    _check_parts(parts)
    return value


def _check_parts(parts: SplitResult) -> None:
    if parts.scheme not in SCHEMES:
        raise bad("must begin with redis://, rediss:// (TLS) or unix:// (a socket's path)")
    if parts.fragment:
        raise bad(f"has a '#'; {_ENCODE}")
    if parts.scheme == "unix":
        _check_socket(parts)
    else:
        _check_server(parts)
    _check_query(parts)


def _check_socket(parts: SplitResult) -> None:
    if not parts.path.strip("/") or parts.hostname:
        raise bad("names no socket; write unix:///path/to/redis.sock?db=0 with three slashes")


def _check_server(parts: SplitResult) -> None:
    if not parts.hostname or not _HOST.fullmatch(parts.hostname):
        raise bad(f"has no host, or one with characters that no host has; {_MEND}; {_ENCODE}")
    if parts.port == 0:
        raise bad("has port 0; write one from 1 to 65535")
    if not re.fullmatch(r"/?|/[0-9]{1,9}/?", parts.path):
        raise bad(f"has something else than a database's number after the host; {_MEND}; {_ENCODE}")


def _check_query(parts: SplitResult) -> None:
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        most = _NUMBERED.get(key)
        if most is not None and not (re.fullmatch(r"[0-9]{1,10}", value) and int(value) <= most):
            raise bad(f"has a '{key}=' that is not a whole number from 0 to {most}")


def url_secrets(url: str) -> Iterator[str]:
    """Yield what must never be shown of a URL: its password, as written and decoded, and secrets of its query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    if parts.password:
        yield from {parts.password, unquote(parts.password)}
    for pair in parts.query.split("&"):
        key, _, value = pair.partition("=")
        if value and looks_secret(key):
            yield from {value, unquote(value)}


RedisUrl: TypeAlias = Annotated[
    str,
    BeforeValidator(_check),
    WithJsonSchema(
        {"type": "string", "pattern": r"^([Rr][Ee][Dd][Ii][Ss]{1,2}|[Uu][Nn][Ii][Xx])://\S+$|\$\{"}
    ),
]
