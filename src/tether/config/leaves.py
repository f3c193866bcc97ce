"""Truth values and numbers: how each is checked, and its JSON Schema. Other kinds: ``durations``, ``texts``.

Values come as YAML has them (text, int, float, bool, None, list, dict). Text is also what a ``${VARIABLE}`` leaves, so
a number, a truth value or a duration may be written as text. Nothing else is converted. Messages hold no value: where
one may be shown, ``building`` adds it.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

LONGEST = 1e9
"""Seconds, some 31 years: as long as the backoffs allow."""

VARIABLE: dict[str, Any] = {"type": "string", "pattern": r"\$\{"}
"""JSON Schema of text with a ``${VARIABLE}`` in it: what it becomes is not known to an editor."""

_WHOLE = re.compile(r"[-+]?[0-9]{1,30}")
_DECIMAL = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,4})?")


def wrong(wanted: str, mend: str = "", *, at: str | int = "") -> PydanticCustomError:
    """Return the error for a value that is not what its key wants.

    Args:
        wanted: after 'must be'.
        mend: what to write.
        at: the key, or the item of a list, below the value that is to blame, if it is not the value as a whole.
    """
    return PydanticCustomError(
        "wrong", "must be {wanted}; {mend}", {"wanted": wanted, "mend": mend, "at": at}
    )


def bad(message: str, *, at: str | int = "") -> PydanticCustomError:
    """Return the error for a value of the right kind that cannot work; the whole message, with the mend."""
    return PydanticCustomError("bad", "{message}", {"message": message, "at": at})


def text_or(*kinds: dict[str, Any], pattern: str) -> WithJsonSchema:
    """Return the schema of a value that may also be text: a number in quotes, or a ``${VARIABLE}``."""
    return WithJsonSchema({"anyOf": [*kinds, {"type": "string", "pattern": pattern}, VARIABLE]})


# --- truth values ---------------------------------------------------------------------------------------------------


def _truth(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in {"true", "false"}:
        return value.strip().lower() == "true"
    raise wrong("true or false", "write true or false, without quotes")


Truth: TypeAlias = Annotated[
    bool,
    BeforeValidator(_truth),
    text_or({"type": "boolean"}, pattern=r"^\s*([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])\s*$"),
]


# --- numbers --------------------------------------------------------------------------------------------------------


def is_none(value: object) -> bool:
    """Whether ``value`` stands for 'none': null, or what a variable leaves of it."""
    return value is None or (isinstance(value, str) and value.strip().lower() in {"", "null", "~"})


def whole_number(value: object) -> int | None:
    """Return ``value`` as a whole number, or ``None`` if it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value)
    return None


def number(value: object) -> float | None:
    """Return ``value`` as a finite number, or ``None`` if it is none."""
    if isinstance(value, str) and _DECIMAL.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _count(least: int, most: int, *, optional: bool = False) -> BeforeValidator:
    none = ", or null for no limit" if optional else ""
    span = f"from {least} to {most}" if most < 10**6 else f"of at least {least}"

    def check(value: object) -> int | None:
        if optional and is_none(value):
            return None
        found = whole_number(value)
        if found is None or not least <= found <= most:
            raise wrong(
                f"a whole number {span}{none}", "write one such as " + ("8321" if most == 65535 else "3")
            )
        return found

    return BeforeValidator(check)


_WHOLE_TEXT = r"^\s*[+]?[0-9]{1,30}\s*$"
NONE: dict[str, Any] = {"type": "null"}
NONE_TEXT = r"^\s*(|[Nn]ull|NULL|~)\s*$"

MANY = 10**9

Port: TypeAlias = Annotated[
    int, _count(1, 65535), text_or({"type": "integer", "minimum": 1, "maximum": 65535}, pattern=_WHOLE_TEXT)
]
Positive: TypeAlias = Annotated[
    int, _count(1, MANY), text_or({"type": "integer", "minimum": 1, "maximum": MANY}, pattern=_WHOLE_TEXT)
]
Retries: TypeAlias = Annotated[
    int | None,
    _count(0, MANY, optional=True),
    text_or({"type": "integer", "minimum": 0, "maximum": MANY}, NONE, pattern=f"{_WHOLE_TEXT}|{NONE_TEXT}"),
]


def _number(least: float, most: float, wanted: str, mend: str) -> BeforeValidator:
    def check(value: object) -> float:
        found = number(value)
        if found is None or not least <= found <= most:
            raise wrong(wanted, mend)
        return found

    return BeforeValidator(check)


_NUMBER_TEXT = r"^\s*[+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,4})?\s*$"

Factor: TypeAlias = Annotated[
    float,
    _number(1, LONGEST, f"a number from 1 to {LONGEST:g}", "2 doubles each delay"),
    text_or({"type": "number", "minimum": 1, "maximum": LONGEST}, pattern=_NUMBER_TEXT),
]
Fraction: TypeAlias = Annotated[
    float,
    _number(0, 1, "a fraction from 0 to 1", "0.1 is ±10 %"),
    text_or({"type": "number", "minimum": 0, "maximum": 1}, pattern=_NUMBER_TEXT),
]
