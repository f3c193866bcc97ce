"""Writes values as YAML that reads back as the same, in YAML 1.1 and 1.2, with a comment behind each line."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from tether.config.effective import Effective
from tether.config.scalars import resolve

WIDEST = 72
"""Columns beyond which a comment follows after two spaces instead of aligned."""

_PLAIN = re.compile(
    r"[A-Za-z/][\w./@+?=&%-]*(:[\w./@+?=&%-]+)*|[0-9]+(\.[0-9]+){3}|([0-9]+(\.[0-9]+)?(us|ms|s|m|h|d))+",
    re.ASCII,
)
_WORDS_OF_1_1 = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


def as_yaml(values: Sequence[Effective]) -> str:
    """Return ``values`` as a configuration file whose comments say where each came from."""
    lines = _lines(values)
    width = max((len(text) for text, origin in lines if origin and len(text) <= WIDEST), default=0)
    return "".join(f"{text:<{width}}  # {origin}\n" if origin else f"{text}\n" for text, origin in lines)


def _lines(values: Sequence[Effective]) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    above: tuple[str, ...] = ()
    for one in values:
        parents = one.path[:-1]
        shared = _shared(above, parents)
        lines += [(f"{'  ' * at}{_text(parents[at])}:", "") for at in range(shared, len(parents))]
        lines.append((f"{'  ' * len(parents)}{_text(one.path[-1])}: {flow(one.value)}", one.origin))
        above = parents
    return lines


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    return next(
        (at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]),
        min(len(one), len(other)),
    )


def flow(value: Any) -> str:
    """Return a value on one line of YAML; a '$' is doubled, for a configuration reads it so."""
    if isinstance(value, str):
        return _text(value.replace("$", "$$"))
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(flow, value))}]"
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{_text(key.replace('$', '$$'))}: {flow(below)}" for key, below in value.items())
            + "}"
        )
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float) and not math.isfinite(value):
        return {True: ".nan", False: ".inf" if value > 0 else "-.inf"}[math.isnan(value)]
    return repr(value)


def _text(text: str) -> str:
    is_plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS_OF_1_1 and isinstance(resolve(text), str)
    return text if is_plain else '"' + "".join(map(_escaped, text)) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char.isprintable() or char == " ":
        return char
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
