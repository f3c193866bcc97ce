"""``/livez`` and ``/readyz``: for orchestrators. Machines go by the status code, people read the lines."""

from __future__ import annotations

from tether.core.duration import compact
from tether.surfaces.supervisor import Member, Supervisor


def is_ready(supervisor: Supervisor) -> bool:
    """Whether every required connection is up, and the end has not begun."""
    return not supervisor.is_stopping and all(
        supervisor.is_up(member) for member in supervisor.members() if member.required
    )


def report(supervisor: Supervisor) -> str:
    """Return a line for each connection, and the verdict."""
    lines = [_line(supervisor, member) for member in supervisor.members()]
    if supervisor.is_stopping:
        lines.append("[-]process is stopping")
    lines.append("ready" if is_ready(supervisor) else "not ready")
    return "\n".join(lines) + "\n"


def _line(supervisor: Supervisor, member: Member) -> str:
    if supervisor.is_up(member):
        return f"[+]{member.name} ok"
    mark = "-" if member.required else "!"
    note = "" if member.required else " (not required)"
    stats = supervisor.stats(member)
    if stats is None or supervisor.problem(member.name):
        return f"[{mark}]{member.name} failed: it cannot be started{note}"
    text = "paused" if stats.paused else stats.status.value
    if stats.cause is not None:
        text += f": {stats.cause.code.value}"
    if stats.next_attempt_in is not None:
        text += f", next attempt in {compact(stats.next_attempt_in)}"
    return f"[{mark}]{member.name} {text}{note}"
