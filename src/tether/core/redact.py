"""Keeps secrets out of all that is shown: log lines, errors, events, ``repr``.

Two nets: patterns (``scheme://user:password@…``, ``?token=…``) and the literal values that a connector says it uses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "***"

_USERINFO = re.compile(r"(?P<head>[a-z][a-z0-9+.\-]*://[^\s:/@?#]*:)[^\s/?#]*(?=@)", re.IGNORECASE)
_FIELD = re.compile(
    r"(?P<head>\b(?:password|passwd|passphrase|pwd|token|access_token|secret|api_?key|auth|authorization)\b"
    r"['\"]?\s*[=:]\s*['\"]?(?:(?:bearer|basic)\s+)?)[^\s&'\",;)}\]]+",
    re.IGNORECASE,
)
_SHORTEST = 4
"""Literal secrets shorter than this are masked by pattern only: a password 'a' would mask every 'a'."""


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return ``text`` with everything that looks like a secret, and each of ``secrets``, masked."""
    for secret in secrets:
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, MASK)
    text = _USERINFO.sub(rf"\g<head>{MASK}", text)
    return _FIELD.sub(rf"\g<head>{MASK}", text)


def describe(error: BaseException | None, secrets: Iterable[str] = ()) -> str:
    """Return one redacted line for an exception: its type and message, or '' for ``None``."""
    if error is None:
        return ""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - a driver's __str__ may fail, and a log line must not
        text = ""
    name = type(error).__name__
    return redact(f"{name}: {text}" if text else name, secrets)
