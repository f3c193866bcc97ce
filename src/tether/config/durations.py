"""Durations: seconds, or text such as ``500ms`` and ``1m30s``; read as seconds, written as text."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, PlainSerializer

from tether.config.leaves import LONGEST, NONE, NONE_TEXT, is_none, text_or, wrong
from tether.core.duration import compact, seconds
from tether.errors import ConfigError


def written(value: float | None) -> str | float | None:
    """Return seconds as people write them: ``5s``, ``1m30s``; or the number, where that would lose something."""
    if value is None:
        return None
    text = compact(value)
    return text if seconds(text) == value else value


def _duration(*, positive: bool = False, optional: bool = False) -> BeforeValidator:
    wanted = (
        "a duration" + (" longer than zero" if positive else "") + (", or null for none" if optional else "")
    )

    def check(value: object) -> float | None:
        if optional and is_none(value):
            return None
        try:
            if not isinstance(value, (int, float, str)):
                raise ConfigError("not a duration")
            found = seconds(value, positive=positive)
        except ConfigError:
            raise wrong(wanted, "write seconds (1.5) or text such as 500ms, 1m30s, 5m") from None
        if found > LONGEST:
            raise wrong(f"at most {LONGEST:g} seconds", "write a shorter duration, such as 24h")
        return found

    return BeforeValidator(check)


_DURATION_TEXT = r"^\s*([0-9]+(\.[0-9]+)?|([0-9]+(\.[0-9]+)?\s*([uU][sS]|[mM][sS]|[sSmMhHdD])\s*)+)\s*$"
_SECONDS: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": LONGEST}
_LONGER: dict[str, Any] = {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST}
_WRITTEN = PlainSerializer(written)

Seconds: TypeAlias = Annotated[float, _duration(), _WRITTEN, text_or(_SECONDS, pattern=_DURATION_TEXT)]
PositiveSeconds: TypeAlias = Annotated[
    float, _duration(positive=True), _WRITTEN, text_or(_LONGER, pattern=_DURATION_TEXT)
]
OptionalSeconds: TypeAlias = Annotated[
    float | None,
    _duration(positive=True, optional=True),
    _WRITTEN,
    text_or(_LONGER, NONE, pattern=f"{_DURATION_TEXT}|{NONE_TEXT}"),
]
