"""Keeps secrets out of all that is shown: log lines, errors, events, ``repr``.

Two nets: patterns (``scheme://user:password@…``, ``?token=…``) and the literal values that a connector says it uses.
Every pattern begins at a literal, so that a long message costs time in proportion to its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "***"

_SHORTEST = 4
"""Literal secrets shorter than this are masked by pattern only: a password 'a' would mask every 'a'."""

_WORD = re.compile(r"\S+")
_PATH = re.compile(r"[/?#]")
_PORT = re.compile(r":\d*(?:[/?#]|$)")
_NATS_TOKEN = re.compile(r"(?P<head>\b(?:nats|tls)://)[^\s:/?#@]+(?=@)", re.IGNORECASE)
_GO_ADDRESS = re.compile(r"@(?:tcp|unix)\(")
_SCHEME = r"(?:(?:bearer|basic|digest|apikey|token)\s+)?"
_KEY = r"(?:password|passwd|passphrase|pwd|token|secret|api[-_]?key|authorization|auth)"
_QUERY = re.compile(rf"(?P<head>[?&][\w.-]*{_KEY}=)[^\s&'\"]+", re.IGNORECASE)
_FIELD = re.compile(
    rf"(?P<head>(?:(?<![a-z0-9]){_KEY}|(?-i:\b[a-z][A-Za-z0-9]*(?:Password|Passphrase|Token|Secret|ApiKey)))(?![a-z])"
    r"(?:['\"]?\s*[=:]\s*|['\"]\s*,\s*))"
    rf"(?:b?(?P<quote>['\"])(?P<quoted>{_SCHEME})(?:\\.|(?!(?P=quote)).)*"
    rf"|(?P<bare>{_SCHEME})(?:[^\s&'\",;)}}\]]|,(?=\S))+)",
    re.IGNORECASE | re.DOTALL,
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return ``text`` with everything that looks like a secret, and each of ``secrets``, masked."""
    text = _mask_literals(text, secrets)
    text = _WORD.sub(_mask_userinfo, text)
    text = _NATS_TOKEN.sub(rf"\g<head>{MASK}", text)
    text = _QUERY.sub(rf"\g<head>{MASK}", _mask_go(text))
    return _FIELD.sub(_mask_field, text)


def _mask_literals(text: str, secrets: Iterable[str]) -> str:
    # The longest first: one secret may begin another.
    for secret in sorted((s for s in secrets if len(s) >= _SHORTEST), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def _mask_userinfo(match: re.Match[str]) -> str:
    """Mask the passwords of the URLs in one word; there may be several, as in a list of servers."""
    scheme, *rest = match[0].split("://")
    return "://".join([scheme, *map(_mask_authority, rest)])


def _mask_authority(text: str) -> str:
    """Mask from the first colon that begins no port to the last '@'.

    A password may hold any of ``/?#@`` unencoded: that is when URLs end up in error messages.
    """
    colon, at = text.find(":"), text.rfind("@")
    if colon < 0 or at < colon or _PATH.search(text, 0, colon) or _PORT.match(text, colon):
        return text
    return f"{text[: colon + 1]}{MASK}{text[at:]}"


def _mask_go(text: str) -> str:
    """Mask the password of Go's data source names, ``user:password@tcp(host:port)/db``."""
    shown, done = [], 0
    for at in _GO_ADDRESS.finditer(text):
        word = max(text.rfind(space, done, at.start()) for space in " \t\n'\"") + 1
        colon = text.find(":", max(word, done), at.start())
        if colon >= 0:
            shown += [text[done : colon + 1], MASK]
            done = at.start()
    return "".join([*shown, text[done:]])


def _mask_field(match: re.Match[str]) -> str:
    quote = match["quote"] or ""
    return f"{match['head']}{quote}{match['quoted'] or match['bare'] or ''}{MASK}"


def describe(error: BaseException | None, secrets: Iterable[str] = ()) -> str:
    """Return one redacted line for an exception: its type and message, or '' for ``None``."""
    if error is None:
        return ""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a driver's __str__ may fail, and a log line must not
        text = ""
    # Before the white space is squeezed, for a secret may hold some.
    text = " ".join(_mask_literals(text, secrets).split())
    name = type(error).__name__
    return redact(f"{name}: {text}" if text else name, secrets)
