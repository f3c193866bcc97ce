"""Text, lists of text, and the mapping of options."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, SecretStr, WithJsonSchema

from tether.config.leaves import NONE, bad, wrong


def _text(check: Callable[[str], None], wanted: str, mend: str) -> BeforeValidator:
    def validate(value: object) -> str:
        if not isinstance(value, str):
            raise wrong(wanted, f"{mend}, in quotes" if isinstance(value, (int, float)) else mend)
        check(value)
        return value

    return BeforeValidator(validate)


_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?")
_HOST_TEXT = r"^([A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?)$|\$\{"
_BASE_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_TOKEN = re.compile(r"[!-~]*")
SHORTEST_TOKEN = 8
"""Characters: a shorter one is guessed."""


def _check_host(value: str) -> None:
    if not _HOST.fullmatch(value):
        raise wrong(
            "a host name or an address",
            "write it without scheme, port and brackets: 127.0.0.1, ::1 or 0.0.0.0",
        )


def _check_base_path(value: str) -> None:
    if not _BASE_PATH.fullmatch(value):
        raise wrong("empty or a path such as /tether", "begin it with '/', and end it without")


Host: TypeAlias = Annotated[
    str,
    _text(_check_host, "text", "write a host name or an address such as 127.0.0.1"),
    WithJsonSchema({"type": "string", "pattern": _HOST_TEXT}),
]
BasePath: TypeAlias = Annotated[
    str,
    _text(_check_base_path, "text", "write a path such as /tether"),
    WithJsonSchema({"type": "string", "pattern": r"^(/[A-Za-z0-9._~-]+)*$|\$\{"}),
]


def _token(value: object) -> SecretStr | None:
    """An empty text is no token: that is what ``${TETHER_READ_TOKEN:-}`` leaves of an unset variable."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise wrong(
            "text",
            "put it in quotes" if isinstance(value, (int, float)) else "write a token, or null for none",
        )
    if not _TOKEN.fullmatch(value):
        raise bad(
            "has characters that no HTTP header can carry; use letters, digits and - . _ ~ without spaces"
        )
    if len(value) < SHORTEST_TOKEN:
        raise bad(
            f"is too short; use at least {SHORTEST_TOKEN} characters, such as the output of: openssl rand -hex 16"
        )
    return SecretStr(value)


Token: TypeAlias = Annotated[
    SecretStr | None,
    BeforeValidator(_token),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": r"^([!-~]{8,})?$|\$\{"}, NONE]}),
]


def _texts(wanted: str, mend: str, item_wanted: str, pattern: re.Pattern[str]) -> BeforeValidator:
    def check(value: object) -> tuple[str, ...]:
        if not isinstance(value, (list, tuple)):
            raise wrong(wanted, mend)
        for at, item in enumerate(value):
            if not isinstance(item, str) or not pattern.fullmatch(item):
                raise wrong(item_wanted, mend, at=at)
        return tuple(value)

    return BeforeValidator(check)


def _texts_schema(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "array", "items": {"type": "string", "pattern": pattern}})


Names: TypeAlias = Annotated[
    tuple[str, ...],
    _texts(
        "a list of names", "write [cache, sessions]", "a connection's name", re.compile(r".*\S.*", re.DOTALL)
    ),
    _texts_schema(r"\S"),
]
Hosts: TypeAlias = Annotated[
    tuple[str, ...],
    _texts(
        "a list of host names", "write [tether.example.com], without scheme and port", "a host name", _HOST
    ),
    _texts_schema(_HOST_TEXT),
]


def _options(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise wrong("a mapping", "write {client_name: tether}, the driver's own keyword arguments")
    if not all(map(math.isfinite, _floats(value))):
        raise bad("has .inf or .nan in it, which no option takes; write a number")
    return value


def _floats(value: object) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, (dict, list)):
        for below in value.values() if isinstance(value, dict) else value:
            yield from _floats(below)


Options: TypeAlias = Annotated[dict[str, Any], BeforeValidator(_options), WithJsonSchema({"type": "object"})]
