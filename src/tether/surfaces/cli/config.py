"""``tether config check|show|schema``, and ``load_or_exit`` for every command that takes a configuration file.

Nothing of the configuration is imported before a command needs it: ``tether --help`` works without its packages.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tether.errors import ConfigError, MissingDriver

if TYPE_CHECKING:
    from tether.config import Loaded

EX_CONFIG = 78
"""The configuration file cannot be used."""

EX_UNAVAILABLE = 69
"""A package that the configuration needs is not installed."""

EX_USAGE = 2
"""The command itself is wrong."""

config_app = typer.Typer(
    name="config", help="Check a configuration file, and see what it means.", no_args_is_help=True
)

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="The configuration, a YAML file.", show_default=False)
]


def load_or_exit(path: Path, *, use_environment: bool = True) -> Loaded:
    """Return the configuration in ``path``; or tell on stderr what is wrong, one line each, and exit.

    Raises:
        typer.Exit: 78 for a file that cannot be used, 69 for a missing package, 2 for ``-``.
    """
    if str(path) == "-":
        _tell("tether: a configuration is not read from standard input; name its file")
        raise typer.Exit(EX_USAGE)
    try:
        from tether.config import load

        return load(path, use_environment=use_environment)
    except MissingDriver as error:
        _tell(f"tether: {error}")
        raise typer.Exit(EX_UNAVAILABLE) from None
    except ConfigError as error:
        _tell(str(error))
        raise typer.Exit(EX_CONFIG) from None


@config_app.command()
def check(
    file: File,
    *,
    no_env: Annotated[
        bool,
        typer.Option("--no-env", help="Look up no variables and no files; what needs them is not judged."),
    ] = False,
) -> None:
    """Say whether a configuration file is good. Nothing is connected, and nothing is changed.

    Exit codes: 0 = it is good; 78 = it is not, and stderr has one line for each defect.
    """
    loaded = load_or_exit(file, use_environment=not no_env)
    for note in loaded.notes:
        _tell(f"{loaded.path}: {note}")
    if loaded.unjudged:
        _tell(f"{loaded.path}: not judged, for they need the environment: {_unjudged(loaded)}")
    _put(f"{loaded.path}: {_summary(loaded)}")


@config_app.command()
def show(
    file: File,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object: key to value and origin.")] = False,
) -> None:
    """Print what is in force, defaults included, and where each value comes from. Secrets are shown as ***."""
    loaded = load_or_exit(file)
    from tether.config.effective import effective
    from tether.config.writing import as_yaml

    values = effective(loaded)
    if as_json:
        _put(_json({".".join(one.path): {"value": one.value, "origin": one.origin} for one in values}))
    else:
        _put(as_yaml(values).rstrip("\n"))


@config_app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    try:
        from tether.config.schema import schema_text
    except MissingDriver as error:
        _tell(f"tether: {error}")
        raise typer.Exit(EX_UNAVAILABLE) from None
    _put(schema_text().rstrip("\n"))


def _summary(loaded: Loaded) -> str:
    settings = loaded.settings
    count, required = len(settings.connections), sum(one.required for one in settings.connections.values())
    host = f"[{settings.api.host}]" if ":" in settings.api.host else settings.api.host
    needed = f" ({required} required)" if required else ""
    url = f"http://{host}:{settings.api.port}{settings.api.base_path}"
    return f"good: {count} connection{'' if count == 1 else 's'}{needed}, API on {url}"


def _unjudged(loaded: Loaded) -> str:
    from tether.config.node import dotted
    from tether.config.problem import MOST

    keys = sorted({dotted(loaded.tree, path) for path in loaded.unjudged})
    return ", ".join(keys[:MOST]) + (" …" if len(keys) > MOST else "")


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _put(text: str) -> None:
    """Print data on stdout; a character that the terminal does not have becomes an escape."""
    typer.echo(_printable(text, sys.stdout.encoding))


def _tell(text: str) -> None:
    """Print talk on stderr."""
    typer.echo(_printable(text, sys.stderr.encoding), err=True)


def _printable(text: str, encoding: str | None) -> str:
    encoding = encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
