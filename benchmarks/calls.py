"""What a call through tether costs when nothing is wrong: the happy path, which runs millions of times.

The operation is an empty coroutine, so that what remains is the wrapper. Every contestant makes the same number of
calls in a block, the blocks of one round follow one another in shuffled order, and each is compared with the bare calls
of the same round; the figure is the median over many rounds. Time is the thread's CPU time, so that a busy machine does
not count, and the garbage collector is off during a block, as in ``timeit``.

The peers wrap the same coroutine with three retries and no waiting in between, in the form that their manuals show for
asyncio. None of them supervises a connection: they only retry. ``asyncio.timeout`` is there as a yardstick.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `python benchmarks/calls.py`

from benchmarks._common import Report, Row, median, options, quartiles
from tether import Reconnector
from tether.testing.scripted import ScriptedConnection, ScriptedConnector

TARGET = 1.0
RETRIES = 3

Block: TypeAlias = Callable[[int], Awaitable[None]]
"""Makes so many calls."""

Operation: TypeAlias = Callable[[object], Any]
"""What users hand to ``run()``."""


async def nothing(client: object) -> None:
    """Do nothing; the coroutine itself is what a call costs."""


def nothing_at_once(client: object) -> None:
    """Do nothing, without a coroutine."""


operation: Operation = nothing
synchronous: Operation = nothing_at_once


# -- contestants ------------------------------------------------------------------------------------------------------


def bare(client: object) -> Block:
    async def block(count: int) -> None:
        for _ in range(count):
            await operation(client)

    return block


def by_run(reconnector: Reconnector[ScriptedConnection]) -> Block:
    async def block(count: int) -> None:
        for _ in range(count):
            await reconnector.run(operation)

    return block


def by_guard(reconnector: Reconnector[ScriptedConnection]) -> Block:
    async def block(count: int) -> None:
        for _ in range(count):
            async with reconnector.guard() as client:
                await operation(client)

    return block


def by_run_idempotent(reconnector: Reconnector[ScriptedConnection]) -> Block:
    async def block(count: int) -> None:
        for _ in range(count):
            await reconnector.run(operation, idempotent=True)

    return block


def by_run_synchronous(reconnector: Reconnector[ScriptedConnection]) -> Block:
    async def block(count: int) -> None:
        for _ in range(count):
            await reconnector.run(synchronous)

    return block


def by_run_timeout(reconnector: Reconnector[ScriptedConnection]) -> Block:
    async def block(count: int) -> None:
        for _ in range(count):
            await reconnector.run(operation, timeout=1.0)

    return block


def under_timeout(client: object) -> Block:
    async def block(count: int) -> None:
        for _ in range(count):
            async with asyncio.timeout(1.0):
                await operation(client)

    return block


def in_context_manager(client: object) -> Block:
    @asynccontextmanager
    async def borrowed() -> AsyncIterator[object]:
        yield client

    async def block(count: int) -> None:
        for _ in range(count):
            async with borrowed() as it:
                await operation(it)

    return block


def by_redis_retry(client: object) -> Block:
    retry = import_module("redis.asyncio.retry").Retry(import_module("redis.backoff").NoBackoff(), RETRIES)

    async def fail(error: Exception) -> None:
        """Redis-py closes the connection here."""

    def call() -> Awaitable[None]:
        return nothing(client)

    async def block(count: int) -> None:
        for _ in range(count):
            await retry.call_with_retry(call, fail)

    return block


def by_tenacity_decorator(client: object) -> Block:
    tenacity: Any = import_module("tenacity")

    decorate = tenacity.retry(
        retry=tenacity.retry_if_exception_type(ConnectionError), stop=tenacity.stop_after_attempt(RETRIES + 1)
    )
    retrying = decorate(operation)

    async def block(count: int) -> None:
        for _ in range(count):
            await retrying(client)

    return block


def by_tenacity_block(client: object) -> Block:
    tenacity: Any = import_module("tenacity")

    async def block(count: int) -> None:
        for _ in range(count):
            async for attempt in tenacity.AsyncRetrying(
                retry=tenacity.retry_if_exception_type(ConnectionError),
                stop=tenacity.stop_after_attempt(RETRIES + 1),
                reraise=True,
            ):
                with attempt:
                    await operation(client)

    return block


def by_stamina_decorator(client: object) -> Block:
    stamina: Any = import_module("stamina")

    retrying = stamina.retry(on=ConnectionError, attempts=RETRIES + 1)(operation)

    async def block(count: int) -> None:
        for _ in range(count):
            await retrying(client)

    return block


def by_stamina_block(client: object) -> Block:
    stamina: Any = import_module("stamina")

    async def block(count: int) -> None:
        for _ in range(count):
            async for attempt in stamina.retry_context(on=ConnectionError, attempts=RETRIES + 1):
                with attempt:
                    await operation(client)

    return block


def by_backoff(client: object) -> Block:
    backoff: Any = import_module("backoff")

    retrying = backoff.on_exception(backoff.constant, ConnectionError, max_tries=RETRIES + 1, interval=0)(
        operation
    )

    async def block(count: int) -> None:
        for _ in range(count):
            await retrying(client)

    return block


PEERS: dict[str, Callable[[object], Block]] = {
    "asyncio.timeout(1.0)": under_timeout,
    "an @asynccontextmanager that only yields": in_context_manager,
    "redis-py Retry.call_with_retry": by_redis_retry,
    "backoff @on_exception": by_backoff,
    "tenacity @retry": by_tenacity_decorator,
    "tenacity async for / with attempt": by_tenacity_block,
    "stamina @retry": by_stamina_decorator,
    "stamina async for / with attempt": by_stamina_block,
}
OURS: dict[str, Callable[[Reconnector[ScriptedConnection]], Block]] = {
    "run(op)": by_run,
    "async with guard(): op": by_guard,
    "run(op, idempotent=True)": by_run_idempotent,
    "run(op), op not a coroutine": by_run_synchronous,
    "run(op, timeout=1.0)": by_run_timeout,
}
TARGETS = {"run(op)", "async with guard(): op"}
BARE = "bare await op(client)"


def contestants(reconnector: Reconnector[ScriptedConnection]) -> tuple[dict[str, Block], list[str]]:
    """Return the contestants by name, and the names of those that are not installed."""
    found: dict[str, Block] = {BARE: bare(reconnector.client)}
    found.update({name: make(reconnector) for name, make in OURS.items()})
    missing = []
    for name, peer in PEERS.items():
        try:
            found[name] = peer(reconnector.client)
        except ImportError:
            missing.append(name)
    return found, missing


# -- measuring --------------------------------------------------------------------------------------------------------


async def measure(blocks: dict[str, Block], rounds: int, count: int) -> dict[str, list[float]]:
    """Return microseconds per call, by contestant: one figure per round."""
    figures: dict[str, list[float]] = {name: [] for name in blocks}
    order = list(blocks)
    for block in blocks.values():
        await block(count)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            figures[name].append(await time_block(blocks[name], count))
        await asyncio.sleep(0)
    return figures


async def time_block(block: Block, count: int) -> float:
    gc.collect(0)
    gc.disable()
    try:
        began = time.thread_time_ns()
        await block(count)
        return (time.thread_time_ns() - began) / count / 1000
    finally:
        gc.enable()


async def run(arguments: Any) -> tuple[dict[str, list[float]], list[str]]:
    async with Reconnector[ScriptedConnection](
        ScriptedConnector(), health_check_interval=3600
    ) as reconnector:
        blocks, missing = contestants(reconnector)
        return await measure(blocks, arguments.rounds, arguments.calls), missing


def row_of(name: str, figures: dict[str, list[float]]) -> Row:
    """One contestant's extra microseconds over the bare call of the same round."""
    extra = [one - base for one, base in zip(figures[name], figures[BARE], strict=True)]
    low, high = quartiles(extra)
    target = TARGET if name in TARGETS else None
    return Row(name, median(extra), "µs", target, f"quartiles {low:.2f}-{high:.2f}")


def main(argv: Sequence[str] | None = None) -> None:
    parser = options(__doc__, quick="a fifth of the rounds")
    parser.add_argument("--rounds", type=int, help="rounds (default: 300, quick: 60)")
    parser.add_argument("--calls", type=int, default=1000, help="calls in a block (default: %(default)s)")
    arguments = parser.parse_args(argv)
    arguments.rounds = arguments.rounds or (60 if arguments.quick else 300)
    figures, missing = asyncio.run(run(arguments))
    report = Report(
        f"calls: CPU time of one call without trouble, beyond the bare await; medians of {arguments.rounds} "
        f"interleaved rounds of {arguments.calls} calls",
        ("tether", "redis", "tenacity", "stamina", "backoff"),
    )
    low, high = quartiles(figures[BARE])
    report.rows = [
        Row(f"({BARE} itself)", median(figures[BARE]), "µs", note=f"quartiles {low:.2f}-{high:.2f}"),
        *(row_of(name, figures) for name in figures if name != BARE),
        *(Row(name, None, "µs", note="not installed") for name in missing),
    ]
    report.notes = [
        "tether's calls also end at once when the connection is lost; the peers only repeat what failed."
    ]
    report.facts = {name: median(values) for name, values in figures.items()}
    report.show(as_json=arguments.json)


if __name__ == "__main__":
    main()
