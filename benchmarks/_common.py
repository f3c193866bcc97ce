"""What the benchmarks share: options, versions, statistics, fresh processes, and the table that they print."""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any

WIDTH = 110


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        name: what was measured.
        value: the figure that is compared with the target; ``None`` when there is nothing to tell.
        unit: of the value and the target.
        target: the most that the value should be; ``None`` for a line that only reports.
        note: spread, sample size, or why there is no value.
        ok: whether the target is met; ``None`` to compare the value with it.
    """

    name: str
    value: float | None
    unit: str
    target: float | None = None
    note: str = ""
    ok: bool | None = None

    @property
    def verdict(self) -> str:
        """``PASS``, ``over``, or nothing when there is no target."""
        if self.target is None or self.value is None:
            return ""
        ok = self.value <= self.target if self.ok is None else self.ok
        return "PASS" if ok else "over"


@dataclass(slots=True)
class Report:
    """What one benchmark has to tell.

    Attributes:
        title: one line.
        packages: the distributions whose versions matter.
        rows: the table.
        notes: how to read it, one paragraph each.
        facts: more figures, for ``--json`` only.
    """

    title: str
    packages: Sequence[str] = ()
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def show(self, *, as_json: bool) -> None:
        """Print the table, or all of it as one JSON object."""
        if as_json:
            rows = [asdict(row) | {"verdict": row.verdict} for row in self.rows]
            told = {
                "title": self.title,
                "versions": versions(self.packages),
                "rows": rows,
                "notes": self.notes,
            }
            print(json.dumps(told | {"facts": self.facts}, indent=2))
            return
        print(self.title)
        print(", ".join(f"{name} {version}" for name, version in versions(self.packages).items()))
        load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
        print(f"{os.cpu_count()} cores{load}\n")
        print("\n".join(_table(self.rows)))
        for note in self.notes:
            print(f"\n{_wrapped(note)}")


def _table(rows: Sequence[Row]) -> list[str]:
    head = ("", "measured", "target", "", "")
    cells = [(row.name, _figure(row.value, row.unit), _target(row), row.verdict, row.note) for row in rows]
    widths = [max(len(line[column]) for line in (head, *cells)) for column in range(5)]
    lines = [
        f"{name:<{widths[0]}}  {value:>{widths[1]}}  {target:>{widths[2]}}  {verdict:<{widths[3]}}  {note}".rstrip()
        for name, value, target, verdict, note in (head, *cells)
    ]
    return [lines[0], "-" * min(WIDTH, max(map(len, lines))), *lines[1:]]


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f} {unit}".rstrip()


def _target(row: Row) -> str:
    return "" if row.target is None else f"<= {row.target:g} {row.unit}".rstrip()


def _wrapped(text: str) -> str:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > WIDTH:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join(lines)


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of Python and of the packages that are installed."""
    found = {"Python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "from the checkout" if package == "tether" else "not installed"
    return found


def options(doc: str | None, *, quick: str) -> argparse.ArgumentParser:
    """Return a parser with what every benchmark understands.

    Args:
        doc: the script's docstring.
        quick: what ``--quick`` does.
    """
    parser = argparse.ArgumentParser(description=(doc or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    return parser


# -- statistics -------------------------------------------------------------------------------------------------------


def median(values: Sequence[float]) -> float:
    """Return the median; not a number for no values."""
    return statistics.median(values) if values else float("nan")


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the first and the third quartile."""
    if len(values) < 2:
        return (values[0], values[0]) if values else (float("nan"), float("nan"))
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def bootstrap(
    samples: Sequence[tuple[float, ...]],
    figure: Callable[[Sequence[tuple[float, ...]]], float],
    *,
    draws: int = 4000,
    seed: int = 1,
) -> tuple[float, float]:
    """Return the 95 % interval of ``figure`` over ``samples``, which are drawn again whole: pairs stay pairs."""
    dice = random.Random(seed)
    figures = sorted(figure(dice.choices(samples, k=len(samples))) for _ in range(draws))
    return figures[int(0.025 * draws)], figures[int(0.975 * draws) - 1]


# -- fresh processes --------------------------------------------------------------------------------------------------


class Child:
    """A script in a fresh process, as ``--child ROLE``; it prints JSON objects, one a line.

    Args:
        script: the script's path.
        role: what it is to be.
        arguments: further arguments.
    """

    def __init__(self, script: str, role: str, *arguments: str) -> None:
        command = [sys.executable, script, "--child", role, *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def read(self) -> dict[str, Any]:
        """Return the next object that it prints.

        Raises:
            RuntimeError: it ended instead; what it had to say is on our standard error.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with exit code {self._process.wait()}")
        told: dict[str, Any] = json.loads(line)
        return told

    def go(self) -> None:
        """Let it go on from where it waits (``wait_for_go``)."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def close(self) -> None:
        """End it, if it has not by itself."""
        self._process.kill()
        self._process.communicate()


def tell(**told: Any) -> None:
    """In a child: tell the parent."""
    print(json.dumps(told), flush=True)


def wait_for_go() -> None:
    """In a child: wait until the parent says go; end with the parent."""
    if not sys.stdin.readline():
        raise SystemExit(1)
