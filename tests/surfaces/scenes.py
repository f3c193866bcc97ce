"""What the demo's tests share: snapshots and results as they may be, and Rich's output as text."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

from rich.console import Console, RenderableType

from tether.core.cause import Cause, Code
from tether.core.lifecycle import Status
from tether.surfaces.demo.model import Beat, Counts, Entry, Flow, Progress, Result, Snapshot, Step
from tether.surfaces.words import Tone

UP = Beat(Flow.FLOWING, 1.0)
DOWN = Beat(Flow.DOWN)

REFUSED = Cause(Code.REFUSED)
EOF = Cause(Code.EOF)
TIMEOUT = Cause(Code.TIMEOUT)

HEALED = Result(
    fault="kill -9, restart",
    noticed_after=0.002,
    cause=EOF,
    then=("refused",),
    back_after=0.51,
    attempts=5,
    counts=Counts(sent=61, received=61, refused=70),
    flowed=True,
)
FROZEN = replace(
    HEALED, fault="freeze, thaw", noticed_after=1.24, cause=TIMEOUT, then=("timeout",), attempts=3
)
NOT_BACK = replace(HEALED, fault="clean stop, restart", back_after=None, flowed=False)
NOT_NOTICED = Result(fault="freeze, thaw", flowed=True)
SILENT = replace(HEALED, flowed=False)
CUT_SHORT = replace(NOT_BACK, finished=False)

IN_AN_OUTAGE = Snapshot(
    elapsed=75.0,
    round=1,
    endless=False,
    endpoint="127.0.0.1:7001",
    status=Status.RECONNECTING,
    status_for=3.14,
    cause=REFUSED,
    attempt=4,
    next_in=0.8,
    next_of=1.6,
    last_outage=None,
    server="kill -9 → server",
    server_ok=False,
    server_for=3.2,
    mend="restart in",
    mend_in=1.3,
    counts=Counts(sent=412, received=411, missed=1, refused=57, unsure=2),
    beats=(UP, UP, Beat(Flow.FLOWING, 0.5, "kill -9"), Beat(Flow.SILENT), DOWN, DOWN),
    steps=(
        Step("kill -9, restart", Progress.RUNNING, "noticed after 2ms"),
        Step("freeze, thaw", Progress.WAITING),
        Step("clean stop, restart", Progress.WAITING),
    ),
    entries=(
        Entry(71.8, "demo", "kill -9 → server", Tone.DEED),
        Entry(71.802, "tether", "lost: eof (connection dropped)", Tone.BAD),
    ),
)
ALL_IS_WELL = replace(
    IN_AN_OUTAGE,
    status=Status.CONNECTED,
    cause=None,
    attempt=1,
    next_in=None,
    last_outage=3.8,
    server="server restarted, accepts again",
    server_ok=True,
    mend="",
    mend_in=None,
    counts=Counts(sent=412, received=412),
)


def shown(what: RenderableType, *, width: int = 80, height: int = 24, **options: Any) -> str:
    """Return what Rich prints on a terminal of that size; plain text unless ``options`` ask for colours."""
    options = {"color_system": None, **options}
    console = Console(
        file=io.StringIO(), force_terminal=True, width=width, height=height, _environ={}, **options
    )
    console.print(what, end="")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
