"""``${NAME}``, ``${NAME:-default}``, ``${file:PATH}`` and ``$$``, in keys and values; and the merge key ``<<``.

What is substituted is text, whatever it looks like: the kind of value that a key wants decides what becomes of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Environ
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath

from tether.config.node import Mapping, Node, Scalar, Sequence
from tether.config.problem import Flaw, Mark, key_text, printable, shorten
from tether.config.source import decode, read_bytes

LARGEST_FILE = 64 << 10
"""Bytes of a secret's file."""

LARGEST_TOTAL = 1 << 20
"""Characters that all variables and files of one configuration may bring."""

_REFERENCE = re.compile(r"\$\$|\$\{(?P<body>[^}]*)(?P<end>\}?)")
_NAME = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-(?P<text>.*))?", re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")
_FORMS = "write ${NAME}, ${NAME:-default} or ${file:PATH}; and $$ for a '$'"


@dataclass(slots=True)
class Lookup:
    """Where variables and files are looked up, and what they brought.

    Attributes:
        environ: the variables.
        folder: what the paths of files are relative to.
        is_on: false to look nothing up; values that need it are then marked as not known.
        secrets: what was read from files.
    """

    environ: Environ[str, str]
    folder: FilePath
    is_on: bool = True
    secrets: list[str] = field(default_factory=list)
    _files: dict[str, str] = field(default_factory=dict)
    _total: int = 0

    def variable(self, name: str, default: str | None) -> tuple[str, str]:
        """Return the value of a variable, and where it came from.

        Raises:
            Flaw: it is not set and has no default, or is no text.
        """
        value = self.environ.get(name)
        if not value and default is not None:
            return self._counted(default), f"default of ${name}"
        if value is None:
            raise Flaw(
                f"the environment variable {name} is not set; set it, or give a default: ${{{name}:-…}}"
            )
        if _SURROGATE.search(value):
            raise Flaw(f"the environment variable {name} is not UTF-8; set it to text")
        return self._counted(value), f"${name}"

    def file(self, name: str) -> tuple[str, str]:
        """Return the text of a file without its last line's end, and where it came from.

        Raises:
            Flaw: it cannot be read.
        """
        shown = _path_text(name)
        if name not in self._files:
            try:
                text = decode(read_bytes(self.folder / name, LARGEST_FILE))
            except Flaw as flaw:
                line = f" (line {flaw.mark.line})" if flaw.mark else ""
                raise Flaw(f"the file {shown}{line}: {flaw.message}") from None
            self._files[name] = text.removesuffix("\n").removesuffix("\r")
            self.secrets.append(self._files[name])
        return self._counted(self._files[name]), f"file {shown}"

    def _counted(self, text: str) -> str:
        self._total += len(text)
        if self._total > LARGEST_TOTAL:
            raise Flaw("variables and files bring more than 1 MiB of text by here; use fewer of them")
        return text


def _path_text(name: str) -> str:
    return shorten(printable(name), 120)


def expand(root: Node, lookup: Lookup) -> tuple[Node, list[Flaw]]:
    """Return the tree with everything substituted and merged, and what was wrong with that."""
    expander = _Expander(lookup)
    return expander.node(root, ""), expander.flaws


class _Expander:
    """Walks the tree once; what several aliases name is looked at once, and complained about once."""

    def __init__(self, lookup: Lookup) -> None:
        self.lookup = lookup
        self.flaws: list[Flaw] = []
        self._done: dict[int, Node] = {}

    def node(self, node: Node, key: str) -> Node:
        done = self._done.get(id(node))
        if done is None:
            done = self._done[id(node)] = self._node(node, key)
        return done

    def _node(self, node: Node, key: str) -> Node:
        if isinstance(node, Scalar):
            return self._scalar(node, key)
        if isinstance(node, Sequence):
            return Sequence(
                node.mark, [self.node(item, f"{key}[{at}]") for at, item in enumerate(node.items)]
            )
        return self._mapping(node, key)

    def _scalar(self, scalar: Scalar, key: str) -> Scalar:
        if "$" not in scalar.source:
            return scalar
        try:
            text, origins = substitute(scalar.source, self.lookup)
        except Flaw as flaw:
            self.flaws.append(Flaw(flaw.message, key, scalar.mark))
            text, origins = None, ()
        return replace(scalar, value=text, origins=origins, is_known=text is not None)

    def _mapping(self, mapping: Mapping, key: str) -> Mapping:
        entries: dict[str, tuple[Scalar, Node]] = {}
        merged: list[Mapping] = []
        for name, value in mapping.entries:
            below = f"{key}.{key_text(name.source)}".removeprefix(".")
            # A key is text, whatever it looks like: `1:` names the connection '1'.
            word = self._scalar(name, below) if "$" in name.source else _as_text(name)
            node = self.node(value, below)
            text = str(word.value) if word.is_known else word.source
            if text in entries:
                self._twice(below, word.mark, entries[text][0].mark)
            else:
                entries[text] = (word, node)
        if "<<" in entries:
            merged = self._merged(*entries.pop("<<"), key)
        for other in merged:
            for word, node in other.entries:
                entries.setdefault(str(word.value or word.source), (word, node))
        return Mapping(mapping.mark, list(entries.values()), entries)

    def _twice(self, key: str, mark: Mark, first: Mark) -> None:
        self.flaws.append(
            Flaw(f"this key is there already, on line {first.line}; remove one of the two", key, mark)
        )

    def _merged(self, word: Scalar, node: Node, key: str) -> list[Mapping]:
        items = node.items if isinstance(node, Sequence) else [node]
        mappings = [item for item in items if isinstance(item, Mapping)]
        if len(mappings) < len(items):
            message = "'<<' takes in another mapping; write <<: *name, where &name stands before a mapping"
            self.flaws.append(Flaw(message, f"{key}.<<".removeprefix("."), word.mark))
        return mappings


def _as_text(key: Scalar) -> Scalar:
    return Scalar(key.mark, key.source, key.source)


def substitute(source: str, lookup: Lookup) -> tuple[str | None, tuple[str, ...]]:
    """Return ``source`` with its references replaced, and what they were; ``None`` if they are not looked up.

    Raises:
        Flaw: a reference that has no such form, or leads to nothing.
    """
    parts, origins, end = [], [], 0
    for found in _REFERENCE.finditer(source):
        parts.append(source[end : found.start()])
        end = found.end()
        if found[0] == "$$":
            parts.append("$")
            continue
        text, origin = _look_up(found, lookup)
        parts.append(text)
        origins.append(origin)
    if origins and not lookup.is_on:
        return None, tuple(origins)
    return "".join([*parts, source[end:]]), tuple(dict.fromkeys(origins))


def _look_up(found: re.Match[str], lookup: Lookup) -> tuple[str, str]:
    if not found["end"]:
        raise Flaw(f"a '${{' that is never closed; {_FORMS}")
    body = found["body"]
    if "${" in body:
        raise Flaw("a '${' within another; write the inner one's text, or set the variable")
    if body.startswith("file:") and body != "file:":
        name = body.removeprefix("file:")
        return lookup.file(name) if lookup.is_on else ("", f"file {_path_text(name)}")
    form = _NAME.fullmatch(body)
    if form is None:
        raise Flaw(f"'${{…}}' with something else than a name in it; {_FORMS}")
    default = None if form["default"] is None else form["text"].replace("$$", "$")
    return lookup.variable(form["name"], default) if lookup.is_on else ("", f"${form['name']}")
