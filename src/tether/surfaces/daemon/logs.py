"""The daemon's log on stderr: lines for people, or JSON for machines. Secrets are masked in both."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

from tether.core.redact import redact

_COLOURS = {
    logging.DEBUG: "2",
    logging.INFO: "32",
    logging.WARNING: "33",
    logging.ERROR: "31",
    logging.CRITICAL: "31",
}


def log_to_stderr(level: str, format: str, secrets: Sequence[str]) -> None:
    """Send all logging of the process to stderr.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``: this and worse.
        format: ``text`` or ``json``.
        secrets: literal values to mask.
    """
    stream = sys.stderr
    handler = logging.StreamHandler(stream)
    lines = _Lines(secrets, colour=_is_colourful(stream))
    handler.setFormatter(_Json(secrets) if format == "json" else lines)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # What libraries say in detail is nobody's business here.
    for library in ("asyncio", "httpx", "uvicorn"):
        logging.getLogger(library).setLevel(max(logging.WARNING, root.level))


def _is_colourful(stream: TextIO | Any) -> bool:
    import os

    return bool(stream.isatty()) and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


class _Masked(logging.Formatter):
    """Masks secrets: those of the configuration by their value, others by what they look like."""

    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__()
        self._secrets = secrets

    def text(self, record: logging.LogRecord) -> str:
        """Return the message, with the traceback if there is one."""
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return redact(text, self._secrets)


class _Lines(_Masked):
    """``2026-11-21T10:48:31.120Z WARNING cache: lost …``."""

    def __init__(self, secrets: Sequence[str], *, colour: bool) -> None:
        super().__init__(secrets)
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname:<7}"
        if self._colour:
            level = f"\x1b[{_COLOURS.get(record.levelno, '0')}m{level}\x1b[0m"
        return f"{_time(record)} {level} {self.text(record)}"


class _Json(_Masked):
    """One object a line; what tells an event has the event's fields beneath ``event``."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.text(record),
        }
        event = getattr(record, "tether", None)
        if isinstance(event, dict):
            line["event"] = self._masked(event)
        return json.dumps(line, ensure_ascii=False, default=str)

    def _masked(self, value: Any) -> Any:
        """Mask in every text by itself: JSON as a whole has quotes and keys that are no part of a secret."""
        if isinstance(value, str):
            return redact(value, self._secrets)
        if isinstance(value, dict):
            return {key: self._masked(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._masked(each) for each in value]
        return value


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
