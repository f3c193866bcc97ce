"""The closing table, what it means, and the exit code that follows from it."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from tether.surfaces.demo.model import Counts, Result
from tether.surfaces.demo.plain import cells
from tether.surfaces.demo.view import GREEN, RED, YELLOW
from tether.surfaces.words import many

HEALED, NOT_HEALED = 0, 1

WIDE = 100
"""Columns from which on the headings need one line only."""


def exit_code(results: Sequence[Result], expected: int) -> int:
    """Return 0 only if all ``expected`` faults were seen to their end and everything healed."""
    done = [result for result in results if result.finished]
    return HEALED if len(done) == expected and all(result.healed for result in done) else NOT_HEALED


def table(results: Sequence[Result], *, title: str = "", width: int = 80) -> Table:
    """Return the closing table; it fits into 80 columns."""
    wide = width >= WIDE
    drawn = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 2 if wide else 0, 0, 0),
        show_edge=False,
    )
    for heading in ("fault", "noticed after", "named cause", "back after"):
        short = heading if wide or heading == "named cause" else heading.replace(" ", "\n")
        drawn.add_column(short, no_wrap=True)
    for heading in ("attempts", "out", "in", "missed"):
        drawn.add_column(heading, justify="right")
    drawn.add_column("healed")
    for result in results:
        fault, noticed, _, back, attempts, sent, received, missed, healed = cells(result)
        drawn.add_row(
            fault if wide else fault.replace(", ", ",\n"),
            noticed,
            _cause(result),
            back,
            attempts,
            sent,
            received,
            Text(missed, style=f"bold {RED}" if result.counts.missed else ""),
            Text(healed, style=f"bold {_colour(result)}"),
        )
    return drawn


def _cause(result: Result) -> Text:
    """Return the cause in two short lines."""
    if result.cause is None:
        return Text("–")
    return Text(result.cause.code.value).append(f"\n{result.cause.label()}", style="dim")


def _colour(result: Result) -> str:
    if result.healed:
        return GREEN
    return RED if result.finished else YELLOW


def verdict(results: Sequence[Result]) -> list[str]:
    """Return what the table means: the verdict first, then what the counts count."""
    done = [result for result in results if result.finished]
    if not done:
        return ["No fault was seen to its end."]
    sick = [result.fault for result in done if not result.healed]
    if sick:
        first = f"{len(sick)} of {many(len(done), 'fault')} did NOT heal: {'; '.join(dict.fromkeys(sick))}."
    else:
        first = f"{'All ' if len(done) > 1 else ''}{many(len(done), 'fault')} healed."
    return [
        first,
        "out: acknowledged by the server; missed: acknowledged, but never received.",
        *_rest(results),
    ]


def _rest(results: Sequence[Result]) -> list[str]:
    counts = sum((result.counts for result in results), Counts())
    said = []
    if counts.missed:
        said.append("Redis pub/sub keeps nothing: a server may die between acknowledging and delivering.")
    if counts.refused:
        said.append(f"{many(counts.refused, 'message')} never left: while down, run() refuses at once.")
    if counts.unsure:
        was = "was" if counts.unsure == 1 else "were"
        said.append(f"{many(counts.unsure, 'message')} {was} under way at a loss: nobody can know.")
    return said
