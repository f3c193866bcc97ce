"""Runs the schedules of many seeds, on one core or several, and adds up their traces."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tests.simulation.generate import generate
from tests.simulation.schedule import Schedule
from tests.simulation.shrink import shrink
from tests.simulation.world import Broken, World

TAIL = 30
AT_ONCE = 25
"""Seeds that a worker process takes at a time."""


class Outcome(NamedTuple):
    """How one schedule went.

    Attributes:
        invariant: the one that was broken, or ''.
        detail: how.
        trace: one line for everything that happened.
    """

    invariant: str
    detail: str
    trace: list[str]


class Result(NamedTuple):
    """What is kept of one seed: the hash of its trace, and more only of what failed."""

    seed: int
    digest: str
    failure: str = ""


def play(schedule: Schedule) -> Outcome:
    """Play one schedule. What escapes from the runtime breaks an invariant too."""
    world = World(schedule)
    try:
        world.play()
    except Broken as error:
        return Outcome(error.invariant, str(error), world.trace())
    except Exception as error:
        invariant = f"nothing escapes: {type(error).__name__}"
        return Outcome(invariant, f"{invariant}: {error}", world.trace())
    return Outcome("", "", world.trace())


def run_seed(seed: int) -> Result:
    """Play the schedule of one seed."""
    schedule = generate(seed)
    outcome = play(schedule)
    digest = hashlib.sha256("\n".join(outcome.trace).encode()).hexdigest()
    return Result(seed, digest, _failure(schedule, outcome) if outcome.invariant else "")


def run_seeds(seeds: Iterable[int], jobs: int = 1) -> Iterator[Result]:
    """Play the schedules of many seeds; the results come in the order of the seeds, whatever ``jobs`` is."""
    if jobs == 1:
        yield from map(run_seed, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(run_seed, seeds, chunksize=AT_ONCE)


def total(digests: Iterable[str]) -> str:
    """Return one hash over the traces of all seeds, in order."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _failure(schedule: Schedule, outcome: Outcome) -> str:
    """Return what a person needs to find the defect."""
    shortest = shrink(schedule, lambda candidate: play(candidate).invariant == outcome.invariant)
    lines = [
        f"seed {schedule.seed} broke an invariant: {outcome.detail}",
        f"the last {TAIL} lines of its trace:",
        *(f"  {line}" for line in latest(outcome.trace)),
        f"the shortest schedule that breaks it too ({play(shortest).detail}):",
        shortest.as_python(),
    ]
    return "\n".join(lines)


def latest(trace: list[str]) -> list[str]:
    """Return the last lines, by their times."""
    return sorted(trace, key=lambda line: float(line.partition(" ")[0]))[-TAIL:]
