"""From a seed to a schedule: which faults, which commands, when."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tests.simulation.schedule import Options, Schedule, Step

Args = tuple[Any, ...]

SERVERS = 2
LENGTHS = (5.0, 30.0, 90.0)
"""How many seconds the steps are spread over."""

FAULTS: list[tuple[int, str, Callable[[random.Random], Args]]] = [
    (6, "crash", lambda _: ()),
    (4, "vanish", lambda _: ()),
    (6, "freeze", lambda _: ()),
    (4, "loading", lambda dice: (dice.choice([None, 0.5, 4.0, 15.0]),)),
    (4, "flap", lambda dice: (dice.choice([0.0, 0.05, 0.2, 3.0]),)),
    (5, "partition", lambda dice: (dice.choice(["both", "out", "in"]),)),
    (3, "delay", lambda dice: (dice.choice([0.1, 0.4, 1.5]),)),
    (3, "loss", lambda dice: (dice.choice([0.1, 0.5]),)),
    (3, "deny", lambda dice: (dice.choice([True, False]),)),
    (3, "dns", lambda dice: (dice.choice([(0, 1), (0, 0, 1), (0,), ()]),)),
    (2, "errors", lambda _: ()),
]
"""Faults of a server; each ends by a ``heal`` of its own, some time later."""

ENDS = ("result", "result", "result", "reset", "own", "late", "lose", "stop", "reconnect", "swallow")
WAITS = (0.0, 0.02, 0.3, 2.0)


def _call(dice: random.Random) -> Args:
    timeout = dice.choice([None, 0.0, 0.5, 4.0])
    cancel = dice.choice([None, None, None, 0.0, 0.01, 0.3, 2.0])
    return (dice.choice([True, False]), timeout, dice.choice(WAITS), dice.choice(ENDS), cancel)


def _patience(dice: random.Random) -> Args:
    return (dice.choice([None, 0.5, 5.0]), dice.choice([None, None, 0.0, 0.3]))


def _cancel(dice: random.Random) -> Args:
    return (dice.choice([None, None, None, 0.0, 0.1, 1.0]),)


MANNERS = (
    *("late error", "lost in abort", "lost in open", "stubborn", "late success", "abort raises"),
    *("close hangs", "close raises", "no verdict", "late probe", "missing", "restore fails"),
)
DOINGS: list[tuple[int, str, Callable[[random.Random], Args]]] = [
    (6, "cut", lambda dice: (dice.choice([1, 1, 2]), dice.choice([False, False, True]))),
    (4, "mute", lambda _: ()),
    (4, "stale", lambda dice: (dice.choice([1, 2, 3]),)),
    (
        7,
        "manner",
        lambda dice: (
            dice.choice(MANNERS),
            dice.choice([0.05, 0.5, 3.0]),
        ),
    ),
    (2, "polite", lambda _: ()),
    (
        5,
        "mood",
        lambda dice: (dice.choice(["ok", "raise", "hang", "slow", "stop", "reconnect", "pause", "restart"]),),
    ),
    (12, "run", _call),
    (5, "guard", _call),
    (3, "wait", _patience),
    (4, "report", lambda dice: (dice.choice([None, 0, 0, -1, -2]),)),
    (7, "reconnect", _cancel),
    (4, "pause", lambda _: ()),
    (6, "resume", lambda _: ()),
    (4, "stop", _cancel),
    (8, "start", lambda dice: (dice.choice([True, False, False]), *_cancel(dice))),
    (3, "credential", lambda dice: (dice.choice([True, False]),)),
    (3, "network", lambda _: ()),
    (2, "retries", lambda dice: (dice.choice([None, 0, 1, 5]),)),
]
"""What happens to one connection, or is asked of it."""

HOST: list[tuple[int, str, Callable[[random.Random], Args]]] = [
    (3, "stall", lambda dice: (dice.choice([0.2, 2.0, 20.0]),)),
    (2, "suspend", lambda dice: (dice.choice([5.0, 600.0]),)),
    (2, "wall", lambda dice: (dice.choice([-3600.0, 86400.0]),)),
    (2, "start all", lambda _: ()),
    (1, "stop all", lambda _: ()),
    (2, "wait all", _patience),
    (1, "next loop", lambda _: ()),
]


def generate(seed: int) -> Schedule:
    """Return the schedule of a seed."""
    dice = random.Random(seed)
    options = tuple(_options(dice) for _ in range(dice.choice([1, 1, 2, 3])))
    length = dice.choice(LENGTHS)
    steps = [Step(0.0, "start all")]
    for _ in range(dice.choice([6, 15, 25])):
        steps += _steps(dice, round(dice.uniform(0, length), 2), len(options))
    steps.sort(key=lambda step: step.at)
    return Schedule(seed, options, tuple(steps), heals=dice.random() < 0.75)


def _options(dice: random.Random) -> Options:
    return Options(
        server=dice.randrange(SERVERS),
        client=dice.choice(["handle", "handle", "handle", "own", "retrying"]),
        provider=dice.random() < 0.3,
        base=dice.choice([0.0, 0.1, 1.0]),
        factor=dice.choice([1.0, 2.0]),
        maximum=dice.choice([2.0, 20.0]),
        jitter=dice.choice([0.0, 0.1, 0.5]),
        max_retries=dice.choice([None, None, None, 0, 1, 3]),
        connect_timeout=dice.choice([0.5, 2.0, 5.0]),
        interval=dice.choice([0.5, 3.0, 10.0]),
        timeout=dice.choice([0.3, 2.0]),
        threshold=dice.choice([1, 1, 3]),
        stable_after=dice.choice([0.0, 2.0, 10.0]),
        health_check=dice.random() < 0.85,
        quick=dice.random() < 0.7,
    )


def _steps(dice: random.Random, at: float, connections: int) -> list[Step]:
    kind = dice.choices(["fault", "doing", "host"], [25, 65, 10])[0]
    table = {"fault": FAULTS, "doing": DOINGS, "host": HOST}[kind]
    _, act, args = dice.choices(table, [weight for weight, *_ in table])[0]
    if kind != "fault":
        return [Step(at, act, dice.randrange(connections), args(dice))]
    server, lasts = dice.randrange(SERVERS), dice.choice([0.3, 2.0, 8.0, 25.0])
    return [Step(at, act, server, args(dice)), Step(round(at + lasts, 2), "heal", server, (act,))]
