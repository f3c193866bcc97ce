"""From a schedule that fails to the shortest one that fails in the same way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.simulation.schedule import Schedule, Step

Fails = Callable[[Schedule], bool]


def shrink(schedule: Schedule, fails: Fails) -> Schedule:
    """Drop steps, in ever smaller pieces, while ``fails`` still says so."""
    size = max(1, len(schedule.steps) // 2)
    while True:
        shorter = _without_pieces(schedule, size, fails)
        if shorter.steps == schedule.steps and size == 1:
            return _without_connections(shorter, fails)
        schedule, size = shorter, max(1, size // 2)


def _without_pieces(schedule: Schedule, size: int, fails: Fails) -> Schedule:
    start = 0
    while start < len(schedule.steps):
        steps = schedule.steps[:start] + schedule.steps[start + size :]
        candidate = replace(schedule, steps=steps)
        if fails(candidate):
            schedule = candidate
        else:
            start += size
    return schedule


def _without_connections(schedule: Schedule, fails: Fails) -> Schedule:
    """Drop the last connections, where no step that is left needs them."""
    while len(schedule.options) > 1 and not any(
        _needs(step, len(schedule.options)) for step in schedule.steps
    ):
        candidate = replace(schedule, options=schedule.options[:-1])
        if not fails(candidate):
            break
        schedule = candidate
    return schedule


def _needs(step: Step, connections: int) -> bool:
    return step.who >= connections - 1
