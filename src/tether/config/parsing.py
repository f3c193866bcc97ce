"""YAML -> tree. ruamel.yaml's scanner finds the syntax; this builds, and refuses what such a file has no use for.

Never a word of ruamel's own: its messages quote what they are about, and that may be a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml import events as ev
from ruamel.yaml.error import MarkedYAMLError

from tether.config.node import Mapping, Node, Scalar, Sequence
from tether.config.problem import Flaw, Mark
from tether.config.scalars import resolve

DEEPEST = 50
"""Lists and mappings within one another."""

LARGEST = 100_000
"""Values, those behind aliases counted wherever they are used."""

_SURROGATE = re.compile("[\ud800-\udfff]")


def parse(text: str) -> Node | None:
    """Return the tree of the one document of ``text``, or ``None`` if there is nothing in it.

    Raises:
        Flaw: it is no YAML, or has what is refused: a second document, tags, aliases that contain themselves or
            multiply, too many levels.
    """
    builder = _Builder()
    at = Mark(1, 1)
    try:
        for event in _events(text):
            at = _mark(event)
            builder.take(event, at)
    except Flaw:
        raise
    except MarkedYAMLError as error:
        raise _told(error, text, at) from None
    except Exception:  # noqa: BLE001 - the scanner has its own bugs (a character beyond Unicode), and they are no traceback
        raise Flaw(f"this is not valid YAML; {_LOOK}", mark=at) from None
    return builder.root


def _events(text: str) -> Iterator[Any]:
    yaml: Any = YAML(typ="safe", pure=True)
    return iter(yaml.parse(text))


def _mark(event: Any) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)


@dataclass(slots=True)
class _Open:
    """A list or a mapping that is not closed yet, with the anchor that is to name it."""

    node: Sequence | Mapping
    anchor: str | None
    key: Scalar | None = None
    size: int = 1
    height: int = 1


@dataclass(slots=True)
class _Builder:
    """Builds the tree from events, without recursion."""

    root: Node | None = None
    open: list[_Open] = field(default_factory=list)
    anchors: dict[str, tuple[Node, int, int]] = field(default_factory=dict)
    documents: int = 0

    def take(self, event: Any, mark: Mark) -> None:
        if getattr(event, "tag", None) is not None:
            raise Flaw(
                "tags (words with '!') are not used in this file; remove it, or put the text in quotes",
                mark=mark,
            )
        match event:
            case ev.DocumentStartEvent():
                self._document(mark)
            case ev.ScalarEvent():
                self._scalar(event, mark)
            case ev.AliasEvent():
                self._alias(event.anchor, mark)
            case ev.SequenceStartEvent():
                self._begin(Sequence(mark), event.anchor, mark)
            case ev.MappingStartEvent():
                self._begin(Mapping(mark), event.anchor, mark)
            case ev.SequenceEndEvent() | ev.MappingEndEvent():
                done = self.open.pop()
                self._place(done.node, done.anchor, done.size, done.height, done.node.mark)

    def _document(self, mark: Mark) -> None:
        self.documents += 1
        if self.documents > 1:
            raise Flaw(
                "a second document begins here; keep one per file, and remove the line '---'", mark=mark
            )

    def _scalar(self, event: Any, mark: Mark) -> None:
        if _SURROGATE.search(event.value):
            raise Flaw("half a character (\\ud800 to \\udfff); write the whole one as it is", mark=mark)
        value = resolve(event.value) if event.implicit[0] else event.value
        is_on_one_line = event.start_mark.line == event.end_mark.line
        scalar = Scalar(mark, event.value, value, is_on_one_line=is_on_one_line)
        self._place(scalar, event.anchor, 1, 0, mark)

    def _begin(self, node: Sequence | Mapping, anchor: str | None, mark: Mark) -> None:
        if self.open and isinstance(self.open[-1].node, Mapping) and self.open[-1].key is None:
            raise Flaw(
                "a key must be a word, not a list or a mapping; put text with brackets in quotes", mark=mark
            )
        if anchor is not None:
            self.anchors.pop(anchor, None)  # from here on the name means this one, which is not complete yet
        self.open.append(_Open(node, anchor))
        self._check_depth(0, mark)

    def _alias(self, anchor: str, mark: Mark) -> None:
        found = self.anchors.get(anchor)
        if found is None and any(one.anchor == anchor for one in self.open):
            raise Flaw(
                "this alias (*) is used within what it names, and would never end; remove it", mark=mark
            )
        if found is None:
            raise Flaw(
                "this alias (*) names no anchor (&) above it; check its name, or put the text in quotes",
                mark=mark,
            )
        node, size, height = found
        self._place(node, None, size, height, mark)

    def _place(self, node: Node, anchor: str | None, size: int, height: int, mark: Mark) -> None:
        """Put a complete node where it belongs. ``size`` counts its values, ``height`` its levels."""
        if anchor is not None:
            self.anchors[anchor] = (node, size, height)
        self._check_depth(height, mark)
        if not self.open:
            self.root = node
            return
        parent = self.open[-1]
        parent.size += size
        parent.height = max(parent.height, height + 1)
        if parent.size > LARGEST:
            raise Flaw(
                f"the file has more than {LARGEST} values, with those behind aliases; make it smaller",
                mark=mark,
            )
        _attach(parent, node, mark)

    def _check_depth(self, height: int, mark: Mark) -> None:
        if len(self.open) + height > DEEPEST:
            raise Flaw(f"more than {DEEPEST} levels within one another; this file needs five", mark=mark)


def _attach(parent: _Open, node: Node, mark: Mark) -> None:
    if isinstance(parent.node, Sequence):
        parent.node.items.append(node)
    elif parent.key is not None:
        parent.node.entries.append((parent.key, node))
        parent.key = None
    elif isinstance(node, Scalar):
        parent.key = node
    else:
        raise Flaw("a key must be a word; here an alias (*) names a list or a mapping", mark=mark)


# --- syntax errors, in own words ------------------------------------------------------------------------------------

_LOOK = "check the quotes, the brackets and the indentation here and on the line above"
_QUOTE = "if it is text, put it in quotes"
_WORDS = (
    ("mapping values are not allowed", f"a ':' where no key can be; {_QUOTE}, and check the indentation"),
    ("could not find expected ':'", "a key without a ':' after it; write key: value"),
    ("unexpected end of stream", "a quote that is opened and never closed; close it"),
    ("unexpected document separator", "a quote that is opened and never closed; close it"),
    (
        "unknown escape character",
        "a backslash that escapes nothing; in double quotes write \\\\, or use single quotes",
    ),
    ("hexdecimal", "a backslash that escapes nothing; in double quotes write \\\\, or use single quotes"),
    ("or ']'", f"a list in brackets that lacks a ',' or its ']'; {_QUOTE}: \"${{NAME}}\" needs them there"),
    ("or '}'", f"a mapping in braces that lacks a ',' or its '}}'; {_QUOTE}: \"${{NAME}}\" needs them there"),
    ("expected the node content", f"a value is missing, or begins with what no value begins with; {_QUOTE}"),
    ("expected <block end>", "this fits no line above; check the indentation and the quotes"),
    ("sequence entries are not allowed", "a list's '-' cannot be here; begin it on a line of its own"),
    ("cannot start any token", f"no value begins with this character; {_QUOTE}"),
    ("expected '<document start>'", "this fits no line above; check the indentation and the quotes"),
    ("expected alphabetic or numeric", f"'&' and '*' want a name after them; {_QUOTE}"),
    ("duplicate anchor", "an anchor (&) that is named twice; rename one"),
    ("directive", "lines with '%' at their beginning are not used in this file; remove it"),
    ("YAML document", "lines with '%' at their beginning are not used in this file; remove it"),
    ("tag", f"tags (words with '!') are not used in this file; remove it; {_QUOTE}"),
)
"""Fixed parts of ruamel's messages, and what is said instead."""


def _told(error: MarkedYAMLError, text: str, at: Mark) -> Flaw:
    said = f"{error.problem or ''}"
    # A quote that is never closed is found at the end of the file; what helps is where it begins.
    begin = error.context_mark if "unexpected" in said else None
    found = begin or error.problem_mark or error.context_mark
    mark = at if found is None else Mark(found.line + 1, found.column + 1)
    if tab := _tab_at(text, mark.line):
        return Flaw("a tab in the indentation; use spaces", mark=Mark(mark.line, tab))
    words = next((words for part, words in _WORDS if part in said), f"this is not valid YAML; {_LOOK}")
    return Flaw(words, mark=mark)


def _tab_at(text: str, line: int) -> int:
    """Return the column of a tab in the indentation of ``line``, or 0."""
    lines = text.splitlines()
    row = lines[line - 1] if line <= len(lines) else ""
    indent = row[: len(row) - len(row.lstrip(" \t"))]
    return indent.find("\t") + 1
