"""The demo as plain lines, for pipes, files and terminals that can do no more: one line per change, no ANSI."""

from __future__ import annotations

from collections.abc import Sequence

from tether.surfaces.demo.model import Entry, Result
from tether.surfaces.words import took

HEADINGS = (
    "fault",
    "noticed after",
    "named cause",
    "back after",
    "attempts",
    "out",
    "in",
    "missed",
    "healed",
)


def line(entry: Entry) -> str:
    """Return one change: seconds since the start, who, and what."""
    text = " ".join(entry.text.split())
    return f"{entry.at:8.3f}  {entry.who:<6}  {text}"


def cells(result: Result) -> tuple[str, ...]:
    """Return one row of the closing table."""
    counts = result.counts
    return (
        result.fault,
        took(result.noticed_after),
        cause_of(result),
        took(result.back_after),
        str(result.attempts),
        str(counts.sent),
        str(counts.received),
        str(counts.missed),
        healed(result),
    )


def cause_of(result: Result) -> str:
    """Return the cause that the loss was given, and those of the attempts that failed."""
    if result.cause is None:
        return "–"
    others = [code for code in result.then if code != result.cause.code.value]
    then = f", then {', '.join(others)}" if others else ""
    return f"{result.cause.code.value} ({result.cause.label()}){then}"


def healed(result: Result) -> str:
    """Return the last word on a fault."""
    if result.healed:
        return "yes"
    return "NO" if result.finished else "cut short"


def table(results: Sequence[Result]) -> list[str]:
    """Return the closing table, in columns."""
    rows = [HEADINGS, *map(cells, results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
