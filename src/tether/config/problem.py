"""What is wrong with a configuration file, and how it is told."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from tether.core.redact import redact
from tether.errors import ConfigError

MOST = 20
"""Problems that are told at once; more would hide the first."""

GUESSES = 5 * MOST
"""Problems for which a near name is looked for: it takes a moment, and no more than ``MOST`` are told."""

KEY_LENGTH = 120
"""Characters of a dotted key that are shown."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the file; both count from 1, columns in characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One defect of a configuration file.

    Attributes:
        file: the file, as the caller named it.
        message: what is wrong, and the mend. It holds no secret.
        key: the dotted key, or '' when the defect belongs to no key.
        mark: where in the file, or ``None`` when it is the file itself.
    """

    file: str
    message: str
    key: str = ""
    mark: Mark | None = None

    def __str__(self) -> str:
        """``file:line:column: key: message``, on one line."""
        place = f"{self.file}:{self.mark.line}:{self.mark.column}" if self.mark else self.file
        return ": ".join(part for part in (printable(place), self.key, self.message) if part)


class ConfigFileError(ConfigError):
    """A configuration file cannot be used. ``problems`` has every defect that was found."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(_lines(self.problems)))


def _lines(problems: tuple[Problem, ...]) -> list[str]:
    lines = [str(problem) for problem in problems[:MOST]]
    more = len(problems) - MOST
    return [*lines, f"… and {more} more"] if more > 0 else lines


class Flaw(Exception):
    """A defect before it has a file: what the stages raise and collect. See ``Problem`` for the attributes."""

    def __init__(self, message: str, key: str = "", mark: Mark | None = None) -> None:
        super().__init__(message)
        self.message, self.key, self.mark = message, key, mark


def printable(text: str) -> str:
    """Return ``text`` on one line: characters that a terminal would obey or not show become escapes."""
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shorten(text: str, length: int) -> str:
    """Return ``text`` with at most ``length`` characters; what is cut shows as '…'."""
    return text if len(text) <= length else text[: length - 1] + "…"


def near(word: str, words: Iterable[str]) -> str | None:
    """Return the one of ``words`` that ``word`` was probably meant to be."""
    folded = {other.lower().replace("-", "_"): other for other in words}
    # 'url:redis://h' lacks a space, and was to be 'url'.
    for part in dict.fromkeys((word, re.split(r"[:=\s]", word, maxsplit=1)[0])):
        found = difflib.get_close_matches(part[:80].lower().replace("-", "_"), folded, n=1)
        if found:
            return folded[found[0]]
    return None


def listed(words: Iterable[str]) -> str:
    """Return ``a, b, c`` for a message."""
    return ", ".join(words)


_KEY = re.compile(r"(?:[\w./<-]|\$\{\w+\})*")


def key_text(source: str) -> str:
    """Return one part of a dotted key as a message may show it: up to where it looks like no key.

    Where a space or a colon is forgotten, what was to be a secret value is a part of the key: ``{password:abc}``.
    """
    text = as_written(source, KEY_LENGTH)
    found = _KEY.match(text)
    shown = found[0] if found else ""
    return shown if shown == text else f"{shown.removesuffix('…')}…"


_DEFAULT = re.compile(r"(\$\{[A-Za-z_][A-Za-z0-9_]*):-[^}]*")


def as_written(source: str, length: int) -> str:
    """Return a part of the file for a message: redacted, short, without the defaults of variables, on one line."""
    return shorten(printable(redact(_DEFAULT.sub(r"\1", source))), length)
