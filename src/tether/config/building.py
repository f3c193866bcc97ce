"""Tree -> settings: keys and types. pydantic judges, one model at a time; the words are our own."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tether.config.backoffs import DEFAULT, STRATEGIES
from tether.config.model import Model
from tether.config.models import (
    CONNECTIONS,
    NOT_YET,
    SECTIONS_NOT_YET,
    ApiSettings,
    RedisSettings,
    Settings,
    example_of,
)
from tether.config.node import Mapping, Node, Path, Scalar, Sequence, dotted, find
from tether.config.problem import GUESSES, Flaw, Mark, as_written, key_text, listed, near
from tether.config.redis_url import looks_secret

M = TypeVar("M", bound=Model)

VALUE_LENGTH = 40
"""Characters of a value that are shown."""

NAME = re.compile(r"(?!\.\.?$)[A-Za-z0-9_.-]{1,64}")
"""A connection's name: it is a part of URLs, where '.' and '..' would lead elsewhere."""

_START = "write connections:, and below it a name with type: redis and url: redis://localhost:6379/0"


@dataclass(slots=True)
class Builder:
    """Builds the settings of one file.

    Attributes:
        root: the tree, expanded.
        flaws: what is wrong with it.
        unjudged: where a value is not known, and so neither right nor wrong.
        open: mappings with a key that is not known: any key may be the missing one.
        skipped: dotted keys of what is not there yet, and so not looked into.
    """

    root: Node
    flaws: list[Flaw] = field(default_factory=list)
    unjudged: set[Path] = field(default_factory=set)
    open: set[Path] = field(default_factory=set)
    skipped: list[str] = field(default_factory=list)

    def build(self) -> Settings | None:
        """Return the settings; ``None``, or incomplete ones, if there are ``flaws``."""
        data = self._mapping(self.root, (), f"sections; {_START}")
        if data is None:
            return None
        # An empty section is one with all of its lines commented out.
        if data.get("api") is not None:
            data["api"] = self._model(ApiSettings, ("api",))
        if data.get("connections") is not None:
            data["connections"] = self._connections()
        for name in Settings.model_fields:
            if data.get(name, ...) is None:
                del data[name]
        return self._validate(Settings, (), data)

    # -- sections ----------------------------------------------------------------------------------------------------

    def _connections(self) -> dict[str, RedisSettings]:
        names = self._mapping(self._at(("connections",)), ("connections",), f"names; {_START}") or {}
        built = {name: self._connection(name) for name in names}
        return {name: settings for name, settings in built.items() if settings is not None}

    def _connection(self, name: str) -> RedisSettings | None:
        path: Path = ("connections", name)
        if not NAME.fullmatch(name):
            self._blame(path, "is no name; use 1 to 64 letters, digits and _ - .", on_key=True)
        wanted = "a mapping; write type: redis and url: redis://localhost:6379/0 below it"
        data = self._mapping(self._at(path), path, wanted)
        if data is None:
            return None
        model = self._choice(path, data, "type")
        if model is None:
            return None
        if "retry" in data:
            data["retry"] = self._retry((*path, "retry"))
        if data.get("retry", ...) is None:
            del data["retry"]
        return self._validate(model, path, data)

    def _choice(self, path: Path, data: dict[str, Any], key: str) -> type[RedisSettings] | None:
        """Return the model that ``type`` names, or the one that was probably meant."""
        here = (*path, key)
        if here in self.unjudged:
            self._leave(path, data)
        elif key not in data:
            if not _misspelt(key, data, RedisSettings):
                self._blame(here, f"is missing; write {key}: {next(iter(CONNECTIONS))}")
        elif data[key] in NOT_YET:
            self._blame(here, f"{data[key]} is not there yet; this version supervises: {listed(CONNECTIONS)}")
            self.skipped.append(dotted(self.root, path))
            return None
        elif not isinstance(data[key], str) or data[key] not in CONNECTIONS:
            self._no_such(here, data.pop(key), CONNECTIONS, "this version supervises")
        return CONNECTIONS.get(data.get(key, ""), RedisSettings)

    def _leave(self, path: Path, data: dict[str, Any]) -> None:
        """Judge nothing of a connection whose type is not known."""
        data.clear()
        self.open.add(path)

    def _retry(self, path: Path) -> Model | None:
        data = self._mapping(
            self._at(path), path, "a mapping; write {strategy: exponential, base: 1s, maximum: 60s}"
        )
        here = (*path, "strategy")
        if data is None or here in self.unjudged:
            return None
        name = data.get("strategy", DEFAULT)
        if not isinstance(name, str) or name not in STRATEGIES:
            self._no_such(here, name, STRATEGIES, "there are")
            return None
        return self._validate(STRATEGIES[name], path, data)

    # -- one model ---------------------------------------------------------------------------------------------------

    def _model(self, model: type[M], path: Path) -> M | None:
        data = self._mapping(self._at(path), path, f"a mapping; its keys are {listed(model.model_fields)}")
        return None if data is None else self._validate(model, path, data)

    def _validate(self, model: type[M], path: Path, data: dict[str, Any]) -> M | None:
        for key, example in example_of(model).items():
            # What is not known stands in for itself: it is not missing.
            if (*path, key) in self.unjudged or path in self.open:
                data.setdefault(key, example)
        try:
            return model.model_validate(data)
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_input=False):
                self._explain(model, path, data, detail)
            return None

    def _explain(self, model: type[Model], path: Path, data: dict[str, Any], detail: ErrorDetails) -> None:
        where, context = (*path, *detail["loc"]), detail.get("ctx", {})
        match detail["type"]:
            case "extra_forbidden":
                if not path:
                    self.skipped.append(dotted(self.root, where))
                key, may_guess = str(detail["loc"][-1]), len(self.flaws) < GUESSES
                self._blame(
                    where, _unknown(model, path, key, data) if may_guess else "unknown key", on_key=True
                )
            case "missing":
                key = str(detail["loc"][-1])
                if not _misspelt(key, data, model):
                    self._blame(where, f"is missing; write {key}: {example_of(model).get(key)}")
            case "wrong":
                at = (*where, context["at"]) if context["at"] != "" else where
                self._blame(at, f"must be {context['wanted']}{self._shown(at)}{_mend(context['mend'])}")
            case "bad":
                self._blame(where, context["message"])
            case _:
                self._blame(where, "cannot be used here; see docs/reference/configuration.md")

    def _no_such(self, path: Path, value: object, table: dict[str, Any], there: str) -> None:
        """Blame a value that is none of the names in ``table``."""
        what, names = path[-1], f"{there}: {listed(table)}"
        if not isinstance(value, str):
            self._blame(path, f"must be text, the name of a {what}; {names}")
            return
        # As it is written: what a variable brings is not shown.
        guess = near(value, table)
        self._blame(
            path, f"'{self._word(path)}' is no {what}; {f'did you mean {guess}? ' if guess else ''}{names}"
        )

    # -- the tree ----------------------------------------------------------------------------------------------------

    def _at(self, path: Path) -> Node:
        found = find(self.root, path)
        assert found is not None
        return found[1]

    def _mapping(self, node: Node, path: Path, wanted: str) -> dict[str, Any] | None:
        """Return the plain data of a mapping, without what is not known; ``None`` if it is no mapping."""
        if isinstance(node, Mapping):
            return {
                str(key.value): self.plain(value, (*path, str(key.value)))
                for key, value in self._known(node, path)
            }
        if path not in self.unjudged:
            self._blame(path, f"must be {wanted}")
        return None

    def _known(self, node: Mapping, path: Path) -> list[tuple[Scalar, Node]]:
        """Return the entries whose keys and values are known, and note the others."""
        for key, value in node.entries:
            if not key.is_known:
                self.open.add(path)
            elif isinstance(value, Scalar) and not value.is_known:
                self.unjudged.add((*path, str(key.value)))
        return [
            (key, value)
            for key, value in node.entries
            if key.is_known and (*path, str(key.value)) not in self.unjudged
        ]

    def plain(self, node: Node, path: Path) -> Any:
        """Return a value as Python has it, without what is not known."""
        if isinstance(node, Scalar):
            return node.value
        if isinstance(node, Mapping):
            return {str(k.value): self.plain(v, (*path, str(k.value))) for k, v in self._known(node, path)}
        unknown = {at for at, item in enumerate(node.items) if isinstance(item, Scalar) and not item.is_known}
        self.unjudged |= {(*path, at) for at in unknown}
        return [self.plain(item, (*path, at)) for at, item in enumerate(node.items) if at not in unknown]

    def _shown(self, path: Path) -> str:
        """Return ', not …' with the value at ``path`` as it is written, if it may be shown."""
        found = find(self.root, path)
        if found is None or "options" in path or any(looks_secret(str(part)) for part in path[-2:]):
            return ""
        return "" if path[-1] == "url" else f", not {value_text(found[1])}"

    def _word(self, path: Path) -> str:
        """Return a scalar for a message, up to where it looks like no name."""
        node = self._at(path)
        return key_text(node.source) if isinstance(node, Scalar) else ""

    def _blame(self, path: Path, message: str, *, on_key: bool = False) -> None:
        self.flaws.append(Flaw(message, dotted(self.root, path), place(self.root, path, on_key=on_key)))


def place(root: Node, path: Path, *, on_key: bool = False) -> Mark:
    """Return where to look for ``path``: its value, or its key; what is not there is looked for above."""
    while path:
        found = find(root, path)
        if found is not None:
            key, node = found
            is_empty = isinstance(node, Scalar) and node.source == ""
            return key.mark if key is not None and (on_key or is_empty) else node.mark
        path, on_key = path[:-1], True
    return Mark(1, 1)


def value_text(node: Node) -> str:
    """Return a value for a message: as it is written, redacted and short."""
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, Mapping):
        return "a mapping"
    if not node.is_on_one_line:
        return "text on several lines"
    if node.value is None and not node.origins:
        return "empty" if node.source == "" else "null"
    text = as_written(node.source, VALUE_LENGTH)
    return f"'{text}'" if isinstance(node.value, str) else text


def _mend(mend: str) -> str:
    return f"; {mend}" if mend else ""


def _unknown(model: type[Model], path: Path, key: str, data: dict[str, Any]) -> str:
    if not path and key in SECTIONS_NOT_YET:
        return f"this section is not there yet; this version has: {listed(model.model_fields)}"
    free = [name for name in model.model_fields if name not in data]
    guess = near(key, free) or near(key, model.model_fields)
    if model in STRATEGIES.values():
        name = model.model_fields["strategy"].default
        there = listed(field_ for field_ in model.model_fields if field_ != "strategy") or "no further key"
        return f"strategy {name} has no such key; {f'did you mean {guess}? ' if guess else ''}it has: {there}"
    return (
        f"unknown key; did you mean {guess}?"
        if guess
        else f"unknown key; there are: {listed(model.model_fields)}"
    )


def _misspelt(key: str, data: dict[str, Any], model: type[Model]) -> bool:
    """Whether ``key`` is there under a name that is nearly its own: that is the one defect to tell."""
    unknown = [name for name in data if name not in model.model_fields]
    return any(near(name, model.model_fields) == key for name in unknown[:GUESSES])
