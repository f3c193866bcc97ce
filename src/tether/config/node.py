"""The file as a tree that remembers where everything stands. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from tether.config.problem import Mark, key_text

Plain: TypeAlias = "str | int | float | bool | None"
"""What a scalar can be in this file's YAML: the core schema of YAML 1.2."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value.

    Attributes:
        mark: where it stands.
        source: as it is written, without quotes; the only form in which a message may show it.
        value: what it means, after substitution.
        origins: what was substituted: ``$NAME``, ``file PATH``.
        is_known: false when it holds a variable that was not to be, or could not be, looked up.
        is_on_one_line: false when it goes on below; then something else may have slipped in.
    """

    mark: Mark
    source: str
    value: Plain
    origins: tuple[str, ...] = ()
    is_known: bool = True
    is_on_one_line: bool = True


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    mark: Mark
    items: list[Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping.

    Attributes:
        mark: where it begins.
        entries: keys and values in the order of the file; a key may come twice until ``variables`` has looked at it.
        index: the entries by their keys, once ``variables`` has.
    """

    mark: Mark
    entries: list[tuple[Scalar, Node]] = field(default_factory=list)
    index: dict[str, tuple[Scalar, Node]] = field(default_factory=dict, repr=False)


Node: TypeAlias = Scalar | Sequence | Mapping
Path: TypeAlias = tuple[str | int, ...]
"""The keys from the root to a value; the items of a list count from 0."""


def find(root: Node, path: Path) -> tuple[Scalar | None, Node] | None:
    """Return the key and the value at ``path``, or ``None`` if the file has none; a list's item has no key."""
    key: Scalar | None = None
    node = root
    for part in path:
        entry = _step(node, part)
        if entry is None:
            return None
        key, node = entry
    return key, node


def _step(node: Node, part: str | int) -> tuple[Scalar | None, Node] | None:
    if isinstance(node, Mapping) and isinstance(part, str):
        return node.index.get(part)
    if isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
        return None, node.items[part]
    return None


def dotted(root: Node, path: Path) -> str:
    """Return ``path`` as people read it, each key as it is written in the file: what a variable holds is not shown."""
    text = ""
    node: Node | None = root
    for part in path:
        entry = None if node is None else _step(node, part)
        shown = entry[0].source if entry and entry[0] else part
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{key_text(str(shown))}"
        node = entry[1] if entry else None
    return text
