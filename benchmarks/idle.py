"""Memory and CPU of 10 000 supervised connections that are idle, each probed every 30 s.

Idle is what a connection does most of its life, so this is what supervision costs a service that holds many. The
connections are in memory: a probe is one turn of the event loop, and what is measured is tether alone.

*Memory* is what a started, connected ``Reconnector`` adds to its connector: the same connectors with an open
connection each, but no ``Reconnector``, are the baseline. By tracemalloc (what Python's objects take) and by RSS (what
the operating system sees), in fresh processes, after all have been dialed.

*CPU* is the process's own CPU time over a real idle period, as a share of one core. Baselines: ten thousand asyncio
tasks that sleep 30 s and probe, in a loop: bare, and with ``asyncio.timeout`` around each probe (a probe without
a deadline notices nothing when the peer is silent, so this one does the same work). All processes idle through the same
period side by side, so that whatever else the machine does meets all of them; a period of less than a whole number of
probe intervals is fine, since the probes have random phases.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import sys
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `python benchmarks/idle.py`

from benchmarks._common import Child, Report, Row, options, tell, wait_for_go
from tether import Reconnector
from tether.ports import Attempt, Connector

KILOBYTE = 1024
INTERVAL = 30.0
TIMEOUT = 3.0
SETTLE = 1.0
SLICES = 10
MEMORY_TARGET, CPU_TARGET = 4.0, 2.0


class Connection:
    """An open connection in memory; as a real one, it knows the attempt that it has to tell of its death."""

    __slots__ = ("attempt",)

    def __init__(self, attempt: Attempt | None) -> None:
        self.attempt = attempt


class Memory(Connector[Connection]):
    """The leanest connector there can be: opening is instant, and a probe takes one turn of the event loop."""

    kind = "memory"
    probes = 0

    async def open(self, attempt: Attempt) -> Connection:
        """Connect."""
        return Connection(attempt)

    async def probe(self, handle: Connection) -> None:
        """Make one round trip."""
        await asyncio.sleep(0)
        Memory.probes += 1

    def abort(self, handle: Connection) -> None:
        """Drop it."""
        handle.attempt = None


def make_connectors(count: int) -> list[Memory]:
    return [Memory() for _ in range(count)]


async def start_tether(connectors: Sequence[Memory]) -> list[Reconnector[Any]]:
    """One after the other: ten thousand dials at once would leave their holes in the heap."""
    reconnectors = []
    for number, connector in enumerate(connectors):
        reconnector: Reconnector[Any] = Reconnector(
            connector,
            name=f"connection-{number}",
            health_check_interval=INTERVAL,
            health_check_timeout=TIMEOUT,
        )
        await reconnector.start()
        reconnectors.append(reconnector)
    return reconnectors


async def probe_for_ever(connector: Memory, connection: Connection, *, deadline: bool) -> None:
    await asyncio.sleep(random.random() * INTERVAL)
    while True:
        if deadline:
            async with asyncio.timeout(TIMEOUT):
                await connector.probe(connection)
        else:
            await connector.probe(connection)
        await asyncio.sleep(INTERVAL)


async def start_tasks(connectors: Sequence[Memory], *, deadline: bool) -> list[asyncio.Task[None]]:
    return [
        asyncio.create_task(probe_for_ever(connector, Connection(None), deadline=deadline))
        for connector in connectors
    ]


async def occupy(role: str, connectors: Sequence[Memory]) -> Sequence[object]:
    match role:
        case "tether":
            return await start_tether(connectors)
        case "tasks":
            return await start_tasks(connectors, deadline=False)
        case "tasks with deadline":
            return await start_tasks(connectors, deadline=True)
        case _:
            return [Connection(None) for _ in connectors]


# -- in a child -------------------------------------------------------------------------------------------------------


async def live(role: str, count: int, period: float, *, trace: bool) -> None:
    """Be one of the processes: build, tell the memory, wait for the start, idle, tell the CPU time."""
    gc.collect()
    if trace:
        tracemalloc.start()
    process = psutil.Process()
    rss_before, traced_before = process.memory_info().rss, tracemalloc.get_traced_memory()[0]
    connectors = make_connectors(count)
    kept = await occupy(role, connectors)
    await asyncio.sleep(0)
    gc.collect()
    traced = tracemalloc.get_traced_memory()[0] - traced_before
    tell(rss=process.memory_info().rss - rss_before, traced=traced, kept=len(kept))
    wait_for_go()
    if trace:
        return
    await asyncio.sleep(SETTLE)
    slices, probes = [], Memory.probes
    for _ in range(SLICES):
        wall, cpu = time.perf_counter(), time.process_time()
        await asyncio.sleep(period / SLICES)
        slices.append((time.process_time() - cpu) / (time.perf_counter() - wall) * 100)
    tell(slices=slices, probes=Memory.probes - probes)


def run_child(arguments: argparse.Namespace) -> None:
    factory = asyncio.new_event_loop
    if arguments.uvloop:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(live(arguments.child, arguments.count, arguments.period, trace=arguments.trace))


# -- in the parent ----------------------------------------------------------------------------------------------------


def measure_memory(arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return bytes per connection, by role and kind of measure, the connectors' own included."""
    found: dict[str, dict[str, float]] = {}
    for role in ("connectors", "tether", "tasks with deadline"):
        figures = found[role] = {}
        for flags, kind in (([], "rss"), (["--trace"], "traced")):
            child = Child(__file__, role, *child_arguments(arguments), *flags)
            try:
                figures[kind] = child.read()[kind] / arguments.count
            finally:
                child.close()
    return found


def measure_cpu(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return per cent of a core in each slice of the period, and the number of probes, by role."""
    roles = ("tether", "tasks", "tasks with deadline", "connectors")
    children = {role: Child(__file__, role, *child_arguments(arguments)) for role in roles}
    try:
        for child in children.values():
            child.read()
        for child in children.values():
            child.go()
        return {role: child.read() for role, child in children.items()}
    finally:
        for child in children.values():
            child.close()


def child_arguments(arguments: argparse.Namespace) -> list[str]:
    common = ["--count", str(arguments.count), "--period", str(arguments.period)]
    return [*common, "--uvloop"] if arguments.uvloop else common


def memory_rows(memory: dict[str, dict[str, float]]) -> list[Row]:
    rows = []
    for kind, name in (("traced", "tracemalloc"), ("rss", "RSS")):
        base = memory["connectors"][kind]
        for role, target in (("tether", MEMORY_TARGET), ("tasks with deadline", None)):
            value = (memory[role][kind] - base) / KILOBYTE
            note = f"over {base / KILOBYTE:.2f} KB of a bare connector"
            rows.append(Row(f"memory per connection, {name}: {role}", value, "KB", target, note))
    return rows


def cpu_rows(cpu: dict[str, dict[str, Any]], period: float) -> list[Row]:
    rows = []
    for role, told in cpu.items():
        slices, probes = told["slices"], told["probes"]
        mean = sum(slices) / len(slices)
        note = f"slices {min(slices):.2f}-{max(slices):.2f} %"
        if probes:
            note += f"; {probes} probes, {mean / 100 * period / probes * 1e6:.0f} µs each"
        name = "CPU of a core, all of them: " + ("nothing at all" if role == "connectors" else role)
        rows.append(Row(name, mean, "%", CPU_TARGET if role == "tether" else None, note))
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    parser = options(__doc__, quick="idle for 20 s instead of 60 s")
    parser.add_argument("--count", type=int, default=10_000, help="connections (default: %(default)s)")
    parser.add_argument("--period", type=float, help="seconds to idle")
    parser.add_argument("--uvloop", action="store_true", help="on uvloop instead of asyncio's own loop")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--trace", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    arguments.period = arguments.period or (20.0 if arguments.quick else 60.0)
    if arguments.child is not None:
        run_child(arguments)
        return
    loop = "uvloop" if arguments.uvloop else "asyncio's loop"
    report = Report(
        f"idle: {arguments.count} in-memory connections, probed every {INTERVAL:g} s, on {loop}, "
        f"{arguments.period:g} s of idling",
        ("tether", "psutil", *(["uvloop"] if arguments.uvloop else [])),
    )
    memory, cpu = measure_memory(arguments), measure_cpu(arguments)
    report.rows = [*memory_rows(memory), *cpu_rows(cpu, arguments.period)]
    report.notes = [
        (
            "Memory is what comes on top of the same connectors with an open connection each; 'tasks' are asyncio "
            "tasks that sleep and probe. All CPU figures are of the same period, the processes side by side."
        ),
    ]
    report.facts = {"memory": memory, "cpu": cpu}
    report.show(as_json=arguments.json)


if __name__ == "__main__":
    main()
