"""Connections as a table, and the verdict in a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from tether.surfaces.client.table import table, verdict
from tether.surfaces.svg import new_console


def connection(name: str, status: str = "connected", **changes: Any) -> dict[str, Any]:
    plain = {
        "id": name,
        "status": status,
        "url": "redis://h:6379/0",
        "paused": False,
        "degraded": False,
        "flapping": False,
        "session_uptime": "90s",
        "down_for": None,
        "consecutive_failures": 0,
        "next_attempt_in": None,
        "cause": None,
        "cause_label": None,
        "problem": None,
    }
    return plain | changes


DOWN = connection(
    "orders",
    "reconnecting",
    cause="refused",
    cause_label="connection refused",
    consecutive_failures=3,
    next_attempt_in="2.5s",
    down_for="200.25s",
)


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ([], "No connections."),
        ([connection("a")], "The connection is up."),
        ([connection("a"), connection("b")], "All 2 connections are up."),
        (
            [connection("a"), DOWN],
            "1 of 2 up. orders is reconnecting: refused (connection refused); next attempt in 2.5s.",
        ),
        ([DOWN, DOWN | {"id": "b"}, connection("c")], "1 of 3 up. Down: orders, b."),
        ([connection("a", "failed", problem="no driver")], "0 of 1 up. a is failed: no driver."),
        ([connection("a", "connecting")], "0 of 1 up. a is connecting: no cause yet."),
    ],
)
def test_the_verdict(shown: list[dict[str, Any]], said: str) -> None:
    assert verdict(shown)[0] == said


def lines(*shown: dict[str, Any]) -> list[str]:
    console = new_console(width=160)
    console.print(table(shown))
    return [" ".join(line.split()) for line in console.export_text().splitlines()]


def test_what_needs_attention_comes_first() -> None:
    assert lines(
        connection("zebra"),
        connection("apple"),
        DOWN,
        connection("dead", "failed", cause="auth", cause_label="x"),
    ) == [
        "name state for to tries next why",
        "dead ✕ failed redis://h:6379/0 auth (x); parked, until: tether reconnect dead",
        "orders ◐ reconnecting 3m20s redis://h:6379/0 3 2.5s refused (connection refused)",
        "apple ● connected 1m30s redis://h:6379/0",
        "zebra ● connected 1m30s redis://h:6379/0",
    ]


def test_on_a_narrow_terminal_what_helps_least_is_left_out() -> None:
    console = new_console(width=60)
    console.print(table([DOWN | {"id": "a-connection-with-a-very-long-name"}], width=60))
    head, row = (" ".join(line.split()) for line in console.export_text().splitlines())
    assert head == "name state for next why"
    assert row.startswith("a-connection-with-a-ver… ◐ reconnecting 3m20s 2.5s")


def test_flags_are_words() -> None:
    row = lines(connection("a", paused=True, degraded=True))[1]
    assert row == "a ⏸ connected (paused) (degraded) 1m30s redis://h:6379/0"


def test_markup_in_a_name_is_text() -> None:
    assert "[bold]x" in lines(connection("[bold]x"))[1]
