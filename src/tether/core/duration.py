"""Durations as people write them: float seconds, ``timedelta``, or text such as ``500ms``, ``1m30s``, ``5m``."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import TypeAlias

from tether.errors import ConfigError

Duration: TypeAlias = float | int | timedelta | str

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d)\s*")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_EXAMPLES = "write seconds (1.5) or text such as '500ms', '1m30s', '5m'"


def seconds(value: Duration, *, what: str = "duration", positive: bool = False) -> float:
    """Return ``value`` as float seconds.

    Args:
        value: seconds, a ``timedelta``, or text.
        what: the name of the parameter, for the message.
        positive: refuse zero too (negative and non-finite values are always refused).

    Raises:
        ConfigError: ``value`` is not a duration; the message names ``what`` and the mend.
    """
    try:
        result = _parse(value, what)
    except OverflowError:  # a whole number beyond all floats
        result = math.inf
    if not math.isfinite(result) or result < 0:
        raise ConfigError(f"{what}: {value!r} must be finite and not negative; {_EXAMPLES}")
    if positive and result == 0:
        raise ConfigError(f"{what}: must be longer than zero; {_EXAMPLES}")
    return result


def _parse(value: Duration, what: str) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        text = value.strip().lower()
        if _NUMBER.fullmatch(text):
            return float(text)
        if _WHOLE.fullmatch(text):
            return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    raise ConfigError(f"{what}: {value!r} is not a duration; {_EXAMPLES}")


def compact(value: float) -> str:
    """Return seconds in the short form that people read: ``250ms``, ``1.5s``, ``1m30s``, ``2h``."""
    if value < 1:
        return f"{round(value * 1000)}ms" if round(value * 1000) < 1000 else "1s"
    if value < 60:
        return f"{round(value, 1):g}s" if round(value, 1) < 60 else "1m"
    left = round(value)
    parts = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2])
