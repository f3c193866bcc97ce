"""Plain values as JSON, whatever they hold: one odd value must not take an answer, or a whole feed, with it."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import PydanticSerializationError, to_json


def encode(value: Any) -> bytes:
    """Return JSON; what JSON has no form for is written as text, and what is no number as ``null``."""
    try:
        return to_json(value, inf_nan_mode="null", serialize_unknown=True)
    except (PydanticSerializationError, UnicodeError, ValueError):
        # Text that is no Unicode, as file names and drivers' messages can be: rare, and worth the slow way.
        return json.dumps(_readable(value), ensure_ascii=False).encode()


def _readable(value: Any, depth: int = 8) -> Any:
    """Return ``value`` with everything in it that JSON cannot hold as text; ``depth`` ends what contains itself."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, dict) and depth:
        return {_text(key): _readable(each, depth - 1) for key, each in value.items()}
    if isinstance(value, list | tuple) and depth:
        return [_readable(each, depth - 1) for each in value]
    return _text(value)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text.encode("utf-8", "backslashreplace").decode()
