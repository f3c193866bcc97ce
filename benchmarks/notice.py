"""How long it takes to notice that a Redis is gone: killed, and frozen. Report only: there is no target.

Listeners wait for pub/sub messages that never come, half of them with tether, half with redis-py's own pub/sub; all
check the connection's health every second, tether with a deadline of 0.5 s. Then the server is

* killed with -9: its kernel closes the connections, and whoever reads them can see it at once;
* frozen with SIGSTOP: its connections stay open, and its kernel even acknowledges what is sent; only an answer that
  does not come tells. tether needs at most interval + timeout, 1.5 s.

redis-py's clients do not retry here, so that an error shows at once instead of being repeated away. Its asyncio pub/sub
sends a PING when ``get_message`` is called and the interval is over, but nobody waits for the answer: it never notices
a freeze. Never cannot be measured, so each freeze is watched for a bounded time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `python benchmarks/notice.py`

from benchmarks._common import Report, Row, median, options
from benchmarks._redis import running_server, without_retries
from tether import ReconnectEvent
from tether.core.events import Kind
from tether.storage.redis.reconnector import RedisReconnector
from tether.testing.servers import RedisServer

INTERVAL, TIMEOUT = 1, 0.5
POLL = 0.2
CHANNEL = "benchmark"
TETHER, REDIS_PY = "tether", "redis-py pub/sub"
FAULTS = ("kill -9", "freeze")

Noticed = dict[str, list[float | None]]
"""Seconds until each listener noticed, ``None`` for not within the time that it was watched; by library."""


async def listen_by_tether(
    port: int, noticed: asyncio.Future[float], stack: contextlib.AsyncExitStack
) -> None:
    """Start a listener; ``noticed`` gets the time when it hears of the loss."""

    def look(event: ReconnectEvent) -> None:
        if event.kind is Kind.LOST and not noticed.done():
            noticed.set_result(time.monotonic())

    client = without_retries(port)
    stack.push_async_callback(client.aclose)
    reconnector = RedisReconnector(
        client, health_check_interval=INTERVAL, health_check_timeout=TIMEOUT, subscribers=[look]
    )
    await stack.enter_async_context(reconnector)
    await reconnector.subscribe(CHANNEL, handler=ignore)


async def listen_by_redis_py(
    port: int, noticed: asyncio.Future[float], stack: contextlib.AsyncExitStack
) -> None:
    """Start a listener; ``noticed`` gets the time when it gets an error."""
    client = without_retries(port, health_check_interval=INTERVAL)
    stack.push_async_callback(client.aclose)
    listener: Any = client.pubsub()
    await listener.subscribe(CHANNEL)

    async def read() -> None:
        try:
            while True:
                await listener.get_message(timeout=POLL)
        except (RedisError, OSError):
            if not noticed.done():
                noticed.set_result(time.monotonic())

    task = asyncio.create_task(read())
    stack.callback(task.cancel)


def ignore(_: dict[str, Any]) -> None:
    """Take a message."""


async def watch(server: RedisServer, fault: str, listeners: int, window: float) -> Noticed:
    """Have listeners of both libraries connected, do the fault, and see who notices within ``window`` seconds."""
    loop = asyncio.get_running_loop()
    futures: dict[str, list[asyncio.Future[float]]] = {
        name: [loop.create_future() for _ in range(listeners)] for name in (TETHER, REDIS_PY)
    }
    async with contextlib.AsyncExitStack() as stack:
        for ours, theirs in zip(futures[TETHER], futures[REDIS_PY], strict=True):
            await listen_by_tether(server.port, ours, stack)
            await listen_by_redis_py(server.port, theirs, stack)
        await asyncio.sleep(INTERVAL * (2 + random.random()))  # past the first, random phase of all probes
        began = time.monotonic()
        if fault == "freeze":
            server.freeze()
        else:
            server.kill()
        everyone = [future for those in futures.values() for future in those]
        await asyncio.wait(everyone, timeout=window)
        noticed: Noticed = {
            name: [future.result() - began if future.done() else None for future in those]
            for name, those in futures.items()
        }
        server.kill()  # frozen or not: nobody has to say goodbye
    await asyncio.to_thread(server.start)
    return noticed


async def measure(arguments: argparse.Namespace) -> tuple[dict[str, Noticed], str]:
    found: dict[str, Noticed] = {fault: {TETHER: [], REDIS_PY: []} for fault in FAULTS}
    async with running_server() as (server, version):
        for _ in range(arguments.rounds):
            for fault in FAULTS:
                for name, figures in (
                    await watch(server, fault, arguments.listeners, arguments.window)
                ).items():
                    found[fault][name] += figures
    return found, version


def row_of(fault: str, name: str, figures: Sequence[float | None], window: float) -> Row:
    seen = [1000 * figure for figure in figures if figure is not None]
    note = f"{len(seen)} of {len(figures)} noticed within {window:g} s"
    if seen:
        note += f", after {min(seen):.0f} to {max(seen):.0f} ms"
    return Row(f"{fault}: {name}", median(seen) if seen else None, "ms", note=note)


def main(argv: Sequence[str] | None = None) -> None:
    parser = options(__doc__, quick="one round, and freezes watched for 5 s instead of 10 s")
    parser.add_argument("--rounds", type=int, help="rounds of one kill and one freeze (default: 3, quick: 1)")
    parser.add_argument("--listeners", type=int, default=10, help="of each library (default: %(default)s)")
    arguments = parser.parse_args(argv)
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 3)
    arguments.window = 5.0 if arguments.quick else 10.0
    logging.getLogger("tether").setLevel(logging.CRITICAL)
    found, version = asyncio.run(measure(arguments))
    report = Report(
        f"notice: from the fault to the first sign of it; health checked every {INTERVAL:g} s, {version}",
        ("tether", "redis"),
    )
    report.rows = [
        row_of(fault, name, found[fault][name], arguments.window)
        for fault in FAULTS
        for name in (TETHER, REDIS_PY)
    ]
    report.notes = [
        (
            "Medians of those who noticed. tether's bound for a freeze is interval + timeout = "
            f"{INTERVAL + TIMEOUT:g} s; redis-py's get_message(timeout={POLL:g}) is called in a loop and returns None "
            "for ever."
        ),
    ]
    report.facts = dict(found)
    report.show(as_json=arguments.json)


if __name__ == "__main__":
    main()
