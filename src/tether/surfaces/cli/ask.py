"""The commands that ask a running ``tether run``: status, tail, reconnect, pause, resume."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tether.errors import ConfigError

if TYPE_CHECKING:
    from tether.surfaces.client.target import Target

NOBODY_READS = 128 + 13
"""What a shell says of a program that SIGPIPE ended."""

Url = Annotated[
    str,
    typer.Option(
        help="Where the API is. Default: $TETHER_URL, else http://127.0.0.1:8321.", show_default=False
    ),
]
Token = Annotated[
    str,
    typer.Option(
        help="The read or operate token. Default: $TETHER_TOKEN; others can see a command line.",
        show_default=False,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        readable=False,
        help="Take address and token from the daemon's file, and nothing else.",
    ),
]
Name = Annotated[str, typer.Argument(help="The connection's name.")]


def status(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="The API's own answer.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 unless all are connected.")] = False,
    url: Url = "",
    token: Token = "",
    config: Config = None,
) -> None:
    """Show all connections, those that need attention first."""
    with _failures():
        from rich.console import Console

        from tether.surfaces.client.ask import connections
        from tether.surfaces.client.table import table, verdict

        found = connections(_target(url, token, config))
        if as_json:
            typer.echo(json.dumps({"connections": found}, indent=2, ensure_ascii=False))
        else:
            console = Console(highlight=False)
            if not console.is_terminal:  # a pipe has no width: nothing is cut off
                console = Console(highlight=False, width=400)
            text, style = verdict(found.values())
            console.print(text, style=style)
            if found:
                console.print()
                console.print(table(found.values(), width=console.width))
        if check and any(c["status"] != "connected" for c in found.values()):
            raise typer.Exit(1)


def tail(
    *,
    number: Annotated[int, typer.Option("-n", min=0, max=1000, help="Begin with so many past events.")] = 10,
    connection: Annotated[str, typer.Option(help="Only of this connection.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One object a line.")] = False,
    url: Url = "",
    token: Token = "",
    config: Config = None,
) -> None:
    """Show what happens, as it happens, until Ctrl-C.

    A daemon that is restarted is waited for; what was missed meanwhile follows.
    """
    with _failures():
        from tether.surfaces.client.ask import known
        from tether.surfaces.client.follow import NobodyReads, Printer, follow

        target = _target(url, token, config)
        if connection:
            known(target, connection)
        try:
            asyncio.run(follow(target, Printer(as_json=as_json), connection=connection, replay=number))
        except NobodyReads:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nor must Python complain of it when it ends
            raise typer.Exit(NOBODY_READS) from None


def reconnect(name: Name, *, url: Url = "", token: Token = "", config: Config = None) -> None:
    """Have a connection reconnect now, whatever it is waiting for."""
    _command(name, "reconnect", (url, token, config))


def pause(name: Name, *, url: Url = "", token: Token = "", config: Config = None) -> None:
    """Leave a connection alone: no attempt, no probe, until it is resumed."""
    _command(name, "pause", (url, token, config))


def resume(name: Name, *, url: Url = "", token: Token = "", config: Config = None) -> None:
    """Look after a paused connection again, at once."""
    _command(name, "resume", (url, token, config))


_DONE = {"reconnect": "reconnecting now", "pause": "paused", "resume": "resumed"}


def _command(name: str, verb: str, where: tuple[str, str, Path | None]) -> None:
    with _failures():
        from tether.surfaces.client.ask import command

        command(_target(*where), name, verb)
        typer.echo(f"{name}: {_DONE[verb]}")


def _target(url: str, token: str, config: Path | None) -> Target:
    from tether.surfaces.client.target import DEFAULT_URL, target

    if config is None:
        return target(
            url or os.environ.get("TETHER_URL") or DEFAULT_URL, token or os.environ.get("TETHER_TOKEN", "")
        )
    from tether.surfaces.api.server import url_of
    from tether.surfaces.cli.config import load_or_exit

    if url:  # the file's token is for the file's address, and must not be sent elsewhere
        raise ConfigError("--url: give it or --config, not both")
    api = load_or_exit(config).settings.api
    secret = api.operate_token or api.read_token
    own = "" if secret is None else secret.get_secret_value()
    return target(url_of(api.host, api.port) + api.base_path, token or own)


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """Turn what can go wrong into one line on stderr and an exit code."""
    try:
        yield
    except ModuleNotFoundError as error:
        typer.echo(f"tether: this command needs {error.name}: pip install 'tether[daemon]'", err=True)
        raise typer.Exit(69) from None
    except ConfigError as error:
        typer.echo(f"tether: {error}", err=True)
        raise typer.Exit(2) from None
    except Exception as error:
        from tether.surfaces.client.ask import AskFailed

        if not isinstance(error, AskFailed):
            raise
        typer.echo(f"tether: {error}", err=True)
        raise typer.Exit(error.exit_code) from None
