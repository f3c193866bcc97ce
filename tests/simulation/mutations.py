"""Bugs put into a copy of the runtime: the simulation must find each. ``python -m tests.simulation.mutations``.

A simulation that never fails proves nothing until it is known what it would have found.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Mutation(NamedTuple):
    """One bug: in which file of ``src/tether``, which text becomes which."""

    name: str
    file: str
    old: str
    new: str


MUTATIONS = (
    Mutation(
        "no generation check",
        "core/machine.py",
        "    if not work.is_current(signal.generation, Activity.LIVE):\n        work.tell(Kind.EVIDENCE, cause)",
        "    if link.activity is not Activity.LIVE:\n        work.tell(Kind.EVIDENCE, cause)",
    ),
    Mutation(
        "no abort on loss",
        "core/machine.py",
        "    work.do(Abandon(link.generation))\n    work.move(",
        "    work.move(",
    ),
    Mutation(
        "backoff reset on handshake",
        "core/machine.py",
        "        Activity.LIVE,\n        retry_count=0,",
        "        Activity.LIVE,\n        level=0,\n        retry_count=0,",
    ),
    Mutation(
        "second dial on force",
        "core/machine.py",
        "    elif link.activity is Activity.WAITING:\n        _redial(work)\n",
        "    elif link.activity in {Activity.WAITING, Activity.DIALING}:\n        _redial(work)\n",
    ),
    Mutation(
        "timer not cancelled on stop",
        "core/machine.py",
        "    elif link.activity is Activity.WAITING:\n        work.do(Unschedule())\n"
        "    elif link.activity is Activity.LIVE:\n        work.do(Release",
        "    elif link.activity is Activity.LIVE:\n        work.do(Release",
    ),
    Mutation(
        "probe timeout ignored",
        "runtime/watcher.py",
        "        elif not isinstance(error, NoVerdict):",
        "        elif not isinstance(error, (NoVerdict, TimeoutError)):",
    ),
    Mutation(
        "waiter not resolved on give-up",
        "runtime/engine.py",
        "elif fact.kind in {Kind.GAVE_UP, Kind.STOPPED}:",
        "elif fact.kind is Kind.STOPPED:",
    ),
    Mutation(
        "retry_count not cleared",
        "core/machine.py",
        "        Activity.LIVE,\n        retry_count=0,\n",
        "        Activity.LIVE,\n",
    ),
    Mutation("hint ignored", "core/schedule.py", "if cause.hint else 0.0", "if None else 0.0"),
    Mutation(
        "callback failure stops reconnection",
        "runtime/reports.py",
        "        trace = redact(",
        "        engine._unschedule()\n        trace = redact(",
    ),
    Mutation(
        "late success kept open",
        "runtime/attempt.py",
        "            self.handle = await connector.open(self)\n            self._go_on()",
        "            self.handle = await connector.open(self)\n            if self._is_over:\n                return",
    ),
    Mutation(
        "calls survive the loss",
        "runtime/engine.py",
        "                task.cancel()\n\n    def stalled",
        "\n    def stalled",
    ),
    Mutation(
        "stall counts as silence",
        "runtime/bounded.py",
        "        if late > LATE:\n            self._on_stall(late)\n        else:\n            self._left -= 1",
        "        self._left = 0 if late > LATE else self._left - 1",
    ),
    Mutation(
        "one attempt too many",
        "core/machine.py",
        "work.link.spent >= limit + work.link.extra",
        "work.link.spent > limit + work.link.extra",
    ),
    Mutation(
        "cancellation swallowed",
        "runtime/calls.py",
        "        return error if cancelled_by_others else _indeterminate(engine, cut, None)",
        "        return _indeterminate(engine, cut, None)",
    ),
    Mutation(
        "dials while paused",
        "core/machine.py",
        "    if work.link.paused:\n        return\n    down_since",
        "    down_since",
    ),
)


class Found(NamedTuple):
    """Which seed found a mutation, and how; seed ``None`` when none did."""

    name: str
    seed: int | None
    how: str


def find(mutation: Mutation, seeds: int) -> Found:
    """Run the simulation on a copy of the source that has the bug.

    Raises:
        ValueError: the text to change is not there exactly once: the mutation is out of date.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        file = source / "tether" / mutation.file
        text = file.read_text()
        if text.count(mutation.old) != 1:
            raise ValueError(
                f"{mutation.name}: {mutation.file} has the text {text.count(mutation.old)} times"
            )
        file.write_text(text.replace(mutation.old, mutation.new))
        return _run(mutation, source, seeds)


def _run(mutation: Mutation, source: Path, seeds: int) -> Found:
    command = [sys.executable, "-m", "tests.simulation", "--seeds", str(seeds), "--until-failure"]
    paths = os.pathsep.join([str(source), str(ROOT)])
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": paths},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    told = re.search(r"^seed (\d+) broke an invariant: (.*)$", done.stdout, re.MULTILINE)
    if told is None:
        return Found(mutation.name, None, done.stderr[-300:])
    return Found(mutation.name, int(told[1]), told[2][:110])


def find_all(seeds: int) -> Iterator[Found]:
    """Look for all of them."""
    for mutation in MUTATIONS:
        yield find(mutation, seeds)


def main() -> int:
    """Print which seed found which bug."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutations", description=__doc__)
    parser.add_argument(
        "--seeds", type=int, default=2000, metavar="N", help="at most so many schedules each (2000)"
    )
    missed = 0
    for found in find_all(parser.parse_args().seeds):
        missed += found.seed is None
        print(
            f"| {found.name} | {'not found' if found.seed is None else found.seed} | {found.how} |",
            flush=True,
        )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
