"""``load``: the stages, one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from tether.config.building import Builder
from tether.config.drivers import check_drivers, missing_drivers
from tether.config.models import Settings
from tether.config.node import Node
from tether.config.node import Path as KeyPath
from tether.config.parsing import parse
from tether.config.problem import ConfigFileError, Flaw, Mark, Problem
from tether.config.redis_url import looks_secret, url_secrets
from tether.config.references import check_references
from tether.config.source import read_source
from tether.config.variables import Lookup, expand

_EMPTY = (
    "is empty; write connections:, and below it a name with type: redis and url: redis://localhost:6379/0"
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration file that can be used.

    Attributes:
        settings: what it says, with the defaults.
        secrets: literal values to keep out of logs: tokens, passwords, contents of files.
        path: the file, as the caller named it.
        notes: what is legal, and perhaps not meant.
        tree: the file itself, for ``effective``: where each value came from.
        unjudged: where a value was not looked up (``use_environment=False``); settings have an example there.
    """

    settings: Settings
    secrets: tuple[str, ...] = field(repr=False)
    path: Path
    notes: tuple[str, ...] = ()
    tree: Node = field(repr=False, kw_only=True)
    unjudged: frozenset[KeyPath] = frozenset()


def load(
    path: str | os.PathLike[str], environ: Mapping[str, str] = os.environ, *, use_environment: bool = True
) -> Loaded:
    """Read a configuration file.

    Args:
        path: the file.
        environ: the variables for ``${NAME}``.
        use_environment: false to look up neither variables nor files (``config check --no-env``); what needs one is
            not judged.

    Raises:
        ConfigFileError: the file cannot be used; ``problems`` has every defect of the stage that found one.
    """
    file = Path(path)
    lookup = Lookup(environ, file.parent, is_on=use_environment)
    try:
        return _load(file, lookup)
    except Flaw as flaw:
        raise ConfigFileError([_problem(file, flaw)]) from None


def _load(file: Path, lookup: Lookup) -> Loaded:
    source = parse(read_source(file))
    if source is None or getattr(source, "value", ...) is None:
        raise Flaw(_EMPTY)
    tree, flaws = expand(source, lookup)
    builder = Builder(tree)
    settings = builder.build()
    _refuse(file, [*_looked_into(flaws, builder.skipped), *builder.flaws])
    assert settings is not None
    unjudged = builder.unjudged | builder.open
    _refuse(file, check_references(settings, tree, unjudged))
    _refuse(file, check_drivers(settings, tree, unjudged))
    secrets = dict.fromkeys(secret for secret in (*lookup.secrets, *_secrets(settings)) if secret)
    return Loaded(settings, tuple(secrets), file, _notes(settings), tree=tree, unjudged=frozenset(unjudged))


def _refuse(file: Path, flaws: Iterable[Flaw]) -> None:
    """Raise what was found, in the order of the file; what aliases repeat is told once."""
    ordered = sorted(flaws, key=lambda flaw: _order(flaw.mark))
    unique = {(flaw.mark, flaw.message): flaw for flaw in reversed(ordered)}
    if unique:
        raise ConfigFileError([_problem(file, flaw) for flaw in reversed(unique.values())])


def _looked_into(flaws: Iterable[Flaw], skipped: list[str]) -> list[Flaw]:
    """Leave out what is wrong within sections that this version does not have: they are one defect, told already."""
    within = tuple(f"{key}{sign}" for key in skipped for sign in ".[")
    return [flaw for flaw in flaws if not flaw.key.startswith(within) and flaw.key not in skipped]


def _order(mark: Mark | None) -> tuple[int, int]:
    return (mark.line, mark.column) if mark else (0, 0)


def _problem(file: Path, flaw: Flaw) -> Problem:
    return Problem(str(file), flaw.message, flaw.key, flaw.mark)


def _notes(settings: Settings) -> tuple[str, ...]:
    if not settings.connections:
        return ("there are no connections; nothing is supervised",)
    return missing_drivers(settings)


def _secrets(settings: Settings) -> Iterator[str]:
    for token in (settings.api.read_token, settings.api.operate_token):
        if isinstance(token, SecretStr):
            yield token.get_secret_value()
    for connection in settings.connections.values():
        yield from url_secrets(connection.url)
        yield from _option_secrets(connection.options, is_secret=False)


def _option_secrets(value: object, *, is_secret: bool) -> Iterator[str]:
    """Yield every text that stands under a key that looks like a secret's."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _option_secrets(below, is_secret=is_secret or looks_secret(key))
    elif isinstance(value, list):
        for below in value:
            yield from _option_secrets(below, is_secret=is_secret)
    elif is_secret and value is not None and not isinstance(value, bool):
        yield str(value)
