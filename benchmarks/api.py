"""What the HTTP API costs the process whose connections it shows, while much happens and many look on.

A server process holds 500 connections in memory, and 200 events happen to them in a second; readers of the live feed
and the client of the list are in other processes. The figure is the CPU time of the server process, as a share of one
core, with 20 readers minus without any: periods with and without follow one another, so that whatever else the machine
does meets both, and differences are taken within a pair.

The list of all 500 is asked for on one kept connection, one request after the other, while the events go on and the
readers listen. Its time is measured by the client: it holds the encoding, the socket and the waiting for a loop that
has more to do.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import gc
import itertools
import logging
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `python benchmarks/api.py`

import httpx

from benchmarks._common import Child, Report, Row, median, options, quartiles, tell, wait_for_go
from tether import Reconnector
from tether.core.events import Kind
from tether.observe.history import history
from tether.surfaces.api import create_app
from tether.surfaces.api.server import ApiServer
from tether.surfaces.supervisor import Supervisor
from tether.testing.scripted import ScriptedConnector

CONNECTIONS, EVENTS_PER_SECOND, READERS = 500, 200, 20
CPU_TARGET, LATENCY_TARGET = 15.0, 20.0
TICK = 0.02
SETTLE = 1.0

_NOTE = (
    "CPU is that of the process that holds the connections, with readers minus without. The readers and the client of "
    "the list are other processes, which want CPU as well: on a machine with few cores the times of the list hold some "
    "waiting for one."
)


# -- the server's process ---------------------------------------------------------------------------------------------


async def serve() -> None:
    """Be the server: tell the URL, and then the CPU time for every line that comes in."""
    logging.getLogger("tether").setLevel(
        logging.CRITICAL
    )  # a terminal full of log lines is no part of the API
    supervisor = Supervisor()
    for number in range(CONNECTIONS):
        name = f"connection-{number:03}"
        reconnector: Reconnector[Any] = Reconnector(ScriptedConnector(), name=name, health_check=False)
        supervisor.add(name, reconnector, url=f"redis://user:secret@host-{number}:6379/0")
    await supervisor.manager.start_all()
    server = ApiServer("127.0.0.1", 0)
    await server.bind()
    app = create_app(supervisor, abort=server.abort)
    await server.start(app)
    gc.collect()
    gc.freeze()  # as the daemon does
    happening = asyncio.create_task(happen(supervisor))
    tell(url=server.url)
    try:
        while True:
            await asyncio.to_thread(wait_for_go)
            tell(cpu=time.process_time(), wall=time.perf_counter(), seq=history.last_seq)
    finally:
        happening.cancel()


async def happen(supervisor: Supervisor) -> None:
    """Let so many events happen as would come of losses: they take the way of all events, and change no connection."""
    busses = []
    for name in supervisor.names():
        reconnector = supervisor.manager.get(name)
        assert reconnector is not None
        busses.append((reconnector._bus, history.latest(1, name)[0].event))
    loop, turn = asyncio.get_running_loop(), itertools.cycle(busses)
    began, count = loop.time(), 0
    while True:
        due = int((loop.time() - began) * EVENTS_PER_SECOND)
        while count < due:
            bus, event = next(turn)
            bus.publish(dataclasses.replace(event, kind=Kind.PROBE_FAILED, message="TimeoutError: timed out"))
            count += 1
        await asyncio.sleep(TICK)


# -- the readers' process ---------------------------------------------------------------------------------------------


async def look_on(url: str) -> None:
    """Be the readers: for each line that comes in, listen, or cease to; tell how many events have come."""
    async with httpx.AsyncClient(
        base_url=url, timeout=30.0, limits=httpx.Limits(max_connections=None)
    ) as client:
        while True:
            await asyncio.to_thread(wait_for_go)
            counts = [0] * READERS
            async with AsyncExitStack() as stack:
                reading = [
                    asyncio.create_task(
                        count_events(
                            await stack.enter_async_context(client.stream("GET", "/api/v1/events")),
                            counts,
                            place,
                        )
                    )
                    for place in range(READERS)
                ]
                tell(listening=len(reading))
                await asyncio.to_thread(wait_for_go)
                for task in reading:
                    task.cancel()
                await asyncio.gather(*reading, return_exceptions=True)
            tell(counts=counts)


async def count_events(response: httpx.Response, counts: list[int], place: int) -> None:
    """Read, as cheaply as can be: this process shares the machine with the one that is measured."""
    async for chunk in response.aiter_raw():
        counts[place] += chunk.count(b"\ndata: ")


# -- measuring --------------------------------------------------------------------------------------------------------


def share(server: Child, period: float) -> tuple[float, float]:
    """Return the CPU time of the server over a period as percent of a core, and the events in a second."""
    server.go()
    before = server.read()
    time.sleep(period)
    server.go()
    after = server.read()
    wall = after["wall"] - before["wall"]
    return (after["cpu"] - before["cpu"]) / wall * 100, (after["seq"] - before["seq"]) / wall


def ask(url: str, requests: int) -> tuple[list[float], int]:
    """Return the milliseconds of each request for the list, and the size of an answer."""
    times = []
    with httpx.Client(base_url=url) as client:
        for _ in range(requests + 10):
            began = time.perf_counter()
            response = client.get("/api/v1/network/connections")
            times.append((time.perf_counter() - began) * 1000)
            assert response.status_code == 200
            time.sleep(0.01)
    assert len(response.json()["connections"]) == CONNECTIONS
    return times[10:], len(response.content)


def measure(pairs: int, period: float, requests: int) -> Report:
    """Let periods with and without readers take turns; then ask for the list."""
    server = Child(__file__, "server")
    readers = None
    try:
        url = server.read()["url"]
        readers = Child(__file__, "readers", url)
        differences, alone, rates, heard = [], [], [], []
        for _ in range(pairs):
            without, _ = share(server, period)
            readers.go()
            readers.read()
            time.sleep(SETTLE)
            with_readers, rate = share(server, period)
            readers.go()
            heard.append(readers.read()["counts"])
            differences.append(with_readers - without)
            alone.append(without)
            rates.append(rate)
            time.sleep(SETTLE / 2)
        readers.go()
        readers.read()
        time.sleep(SETTLE)
        times, size = ask(url, requests)
    finally:
        server.close()
        if readers is not None:
            readers.close()
    return report(differences, alone, rates, heard, (times, size))


def report(
    differences: list[float],
    alone: list[float],
    rates: list[float],
    heard: list[list[int]],
    answers: tuple[list[float], int],
) -> Report:
    """Make the table."""
    times, size = answers
    low, high = quartiles(differences)
    times = sorted(times)
    p50, p99 = median(times), times[int(len(times) * 0.99)]
    told = f"{median(rates):.0f} events/s, {CONNECTIONS} connections, quartiles {low:.1f} ... {high:.1f}"
    fewest, most = min(map(min, heard)), max(map(max, heard))
    list_note = f"{len(times)} requests, {size / 1024:.0f} KB each, {READERS} readers listening"
    return Report(
        title=f"The API over {CONNECTIONS} connections, {EVENTS_PER_SECOND} events/s",
        packages=("tether", "fastapi", "uvicorn", "h11", "httpx"),
        rows=[
            Row(f"CPU of {READERS} readers", median(differences), "% of a core", CPU_TARGET, told),
            Row("CPU without readers", median(alone), "% of a core", None, "the events themselves"),
            Row("events per reader", float(fewest), "", None, f"in one period, most {most}"),
            Row("list of all, p50", p50, "ms", None, list_note),
            Row("list of all, p99", p99, "ms", LATENCY_TARGET, f"slowest {times[-1]:.1f} ms"),
        ],
        notes=[_NOTE],
        facts={"differences": differences, "alone": alone, "rates": rates, "heard": heard, "times_ms": times},
    )


def main() -> None:
    parser = options(__doc__, quick="fewer and shorter periods, fewer requests")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        role, *arguments = given.child
        asyncio.run(serve() if role == "server" else look_on(*arguments))
        return
    pairs, period, requests = (2, 3.0, 200) if given.quick else (4, 6.0, 500)
    measure(pairs, period, requests).show(as_json=given.json)


if __name__ == "__main__":
    main()
