"""Connections as a table, those that need attention first, and the verdict in a sentence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.table import Table
from rich.text import Text

from tether.core.duration import compact
from tether.core.lifecycle import Status

_LOOKS = {
    Status.CONNECTED: ("●", "green"),
    Status.CONNECTING: ("◐", "yellow"),
    Status.RECONNECTING: ("◐", "yellow"),
    Status.DISCONNECTED: ("○", "dim"),
    Status.FAILED: ("✕", "bold red"),
}
_ATTENTION = [Status.FAILED, Status.RECONNECTING, Status.CONNECTING, Status.DISCONNECTED, Status.CONNECTED]

_HEADS = ("name", "state", "for", "to", "tries", "next", "why")
_LEFT_OUT_BELOW = {_HEADS.index("to"): 90, _HEADS.index("tries"): 70}
"""Columns of the terminal."""

_WIDEST_NAME = 24

_MAY_SHRINK = {"to", "why"}
"""What is cut first on a narrow terminal."""

Connection = dict[str, Any]


def verdict(connections: Iterable[Connection]) -> tuple[str, str]:
    """Return the state of all in one sentence, and its colour."""
    all_ = list(connections)
    down = [c for c in all_ if c["status"] != Status.CONNECTED]
    if not all_:
        return "No connections.", "dim"
    if not down:
        text = "The connection is up." if len(all_) == 1 else f"All {len(all_)} connections are up."
        return text, "green"
    if len(down) == 1:
        return (
            f"{len(all_) - 1} of {len(all_)} up. {down[0]['id']} is {_state(down[0])}: {_next(down[0])}.",
            "yellow",
        )
    names = ", ".join(c["id"] for c in down[:4]) + (", …" if len(down) > 4 else "")
    return f"{len(all_) - len(down)} of {len(all_)} up. Down: {names}.", "yellow"


def table(connections: Iterable[Connection], *, width: int = 120) -> Table:
    """Return a line for each connection; of ``width`` columns, those that help least are left out first."""
    shown = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    rows = [_row(connection) for connection in sorted(connections, key=_by_attention)]
    left_out = {place for place, least in _LEFT_OUT_BELOW.items() if width < least}
    for place, head in enumerate(_HEADS):
        if place in left_out:
            continue
        widest = max(len(head), *(len(row[place]) for row in rows)) if rows else len(head)
        shown.add_column(
            head, no_wrap=True, overflow="ellipsis", min_width=None if head in _MAY_SHRINK else widest
        )
    for row in rows:
        shown.add_row(*(cell for place, cell in enumerate(row) if place not in left_out))
    return shown


def _by_attention(connection: Connection) -> tuple[int, str]:
    return _ATTENTION.index(Status(connection["status"])), connection["id"]


def _row(c: Connection) -> list[Text | str]:
    mark, colour = ("⏸", "blue") if c["paused"] else _LOOKS[Status(c["status"])]
    up = c["status"] == Status.CONNECTED
    since = c["session_uptime"] if up else c["down_for"]
    return [
        Text(_cut(c["id"]), style="bold"),
        Text(f"{mark} {_state(c)}", style=colour),
        _short(since),
        Text(c["url"], style="dim"),
        str(c["consecutive_failures"] or ""),
        _short(c["next_attempt_in"]),
        Text(_why(c), style="" if up else colour),
    ]


def _state(c: Connection) -> str:
    flags = [flag for flag in ("paused", "degraded", "flapping") if c[flag]]
    return " ".join([c["status"], *(f"({flag})" for flag in flags)])


def _why(c: Connection) -> str:
    if c["problem"]:
        return str(c["problem"])
    if c["cause"] is None:
        return ""
    why = f"{c['cause']} ({c['cause_label']})"
    return f"{why}; parked, until: tether reconnect {c['id']}" if c["status"] == Status.FAILED else why


def _next(c: Connection) -> str:
    why = _why(c) or "no cause yet"
    if c["next_attempt_in"] is not None:
        return f"{why}; next attempt in {_short(c['next_attempt_in'])}"
    return why


def _short(duration: str | None) -> str:
    """Return a duration of the API as people read it, or ''."""
    return "" if duration is None else compact(float(duration.rstrip("s")))


def _cut(name: str) -> str:
    return name if len(name) <= _WIDEST_NAME else name[: _WIDEST_NAME - 1] + "…"
