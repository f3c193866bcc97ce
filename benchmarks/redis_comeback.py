"""How fast traffic flows again once a Redis that was killed is back: tether beside redis-py's own retries.

One real server; it is killed with -9, stays down for 3 + U(0, 2) s, and comes back on the same port. Four callers, each
with a client of its own, call it every 20 ms, one call at a time, through all of it:

* redis-py's ``Retry`` and tether, both with the *same schedule*: 0.1 s, doubled, at most 2 s, no jitter;
* both with their *defaults*, for the record: those are different schedules for different purposes.

Measured, per outage and caller, from the moment at which the *server accepts* (a raw socket that sends PING every
millisecond gets its first PONG) to the *end of the first good call*. Most of it is waiting for the next attempt of the
schedule, so two clients can be compared only where their schedules are the same, and start at the same moment:

* redis-py waits ``base * 2**failures`` with failures counted from 1, so its ``ExponentialBackoff`` gets half the base;
* redis-py begins to wait when a call has failed on the dead connection. tether hears of the loss from its own
  connection, and after a connection that was stable it dials once before its schedule begins, after U[0, 0.1 s]; here
  its dice always fall 0 and every connection counts as stable, so that this dial, which is refused, comes at once, and
  the waits of both begin at the loss;
* the kill comes while no call is under way, and all callers call right after it: with a pause of 20 ms between calls,
  redis-py would otherwise hear of the loss, and begin its schedule, 0 to 20 ms later than tether;
* tether calls by ``run(op, timeout=...)`` on a client that does not retry by itself.

All callers share every outage, so differences are taken within an outage (pairs), and the times of all dials are
printed: they must be the same. The down times are spread evenly over the 2 s (one in each of as many slices as there
are outages), by a seed. The server is up for more than 10 s between outages, so that tether's defaults see a stable
connection. The pairing fails only where the server comes up in the few milliseconds between two dials that belong
together; medians do not mind.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import random
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `python benchmarks/redis_comeback.py`

from benchmarks._common import Report, Row, bootstrap, median, options, quartiles
from benchmarks._redis import running_server, without_retries
from tether import ReconnectEvent, TetherError
from tether.backoff import exponential_backoff
from tether.core.events import Kind
from tether.storage.redis.reconnector import RedisReconnector
from tether.testing.servers import RedisServer
from tether.testing.tcp import HOST

BASE, CAP = 0.1, 2.0
DOWN_AT_LEAST, DOWN_SPREAD = 3.0, 2.0
EVERY = 0.02
UP = 10.5
PATIENCE = 60.0
RETRIES = 1000
RATIO_TARGET, DIFFERENCE_TARGET = 1.05, 20.0

Call = Callable[[], Awaitable[object]]


# -- the callers ------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Caller:
    """One contestant: calls, one at a time, and remembers when it dialed and when a call was good again.

    Attributes:
        name: for the table.
        call: one call.
        busy: whether a call is under way.
        dials: monotonic times of its dials; of tether's, those of its own connection.
        failures: calls that failed.
        good: the first good call since ``expect()``.
    """

    name: str
    call: Call
    busy: bool = False
    dials: list[float] = field(default_factory=list)
    failures: int = 0
    good: asyncio.Future[float] | None = None
    _nap: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Call for ever, every 20 ms."""
        while True:
            self.busy = True
            try:
                await self.call()
            except (RedisError, TetherError, OSError):
                self.failures += 1
            else:
                self._was_good()
            self.busy = False
            self._nap.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await self._nap.wait()

    def _was_good(self) -> None:
        if self.good is not None and not self.good.done():
            self.good.set_result(time.monotonic())

    def expect(self) -> asyncio.Future[float]:
        """Call at once, and return a future: when a call was good."""
        self.dials.clear()
        self.failures = 0
        self.good = asyncio.get_running_loop().create_future()
        self._nap.set()
        return self.good


class NoDice(random.Random):
    """Dice that always fall 0."""

    def random(self) -> float:
        """Return 0."""
        return 0.0


def record_dials(client: Redis, dials: list[float]) -> None:
    """Have ``client`` note the time of each dial."""
    base: Any = client.connection_pool.connection_class

    class Noting(base):  # type: ignore[misc]
        async def _connect(self) -> None:
            dials.append(time.monotonic())
            await super()._connect()

    client.connection_pool.connection_class = Noting


async def get(client: Any) -> Any:
    return await client.get("benchmark")


operation: Callable[[Any], Any] = get


def redis_caller(name: str, client: Redis) -> Caller:
    caller = Caller(name, lambda: client.get("benchmark"))
    record_dials(client, caller.dials)
    return caller


def tether_caller(name: str, port: int, **settings: Any) -> tuple[Caller, RedisReconnector]:
    dials: list[float] = []

    def note(event: ReconnectEvent) -> None:
        if event.kind is Kind.ATTEMPT_STARTED:
            dials.append(time.monotonic())

    reconnector = RedisReconnector(without_retries(port), name=name, subscribers=[note], **settings)

    async def call() -> None:
        await reconnector.run(operation, timeout=PATIENCE)

    return Caller(name, call, dials=dials), reconnector


REDIS_SAME, TETHER_SAME = "same schedule: redis-py", "same schedule: tether"
REDIS_DEFAULT, TETHER_DEFAULT = "defaults: redis-py", "defaults: tether"


# -- outages ----------------------------------------------------------------------------------------------------------


class FirstPong:
    """The reference clock: a thread that connects and sends PING every millisecond, until the server answers."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self.at: asyncio.Future[float] = self._loop.create_future()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.is_set():
            if self._answers():
                self._loop.call_soon_threadsafe(self._tell, time.monotonic())
                return
            time.sleep(0.001)

    def _answers(self) -> bool:
        try:
            with socket.create_connection((HOST, self._port), timeout=0.5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def _tell(self, at: float) -> None:
        if not self.at.done():
            self.at.set_result(at)

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()


@dataclass(slots=True)
class Outage:
    """What one outage showed; seconds.

    Attributes:
        down: from the kill to the first PONG.
        waits: from the first PONG to the end of the first good call, by caller.
        after_dial: from the dial that got through to the end of the first good call, by caller.
        dials: times of all dials since the kill, by caller.
    """

    down: float
    waits: dict[str, float] = field(default_factory=dict)
    after_dial: dict[str, float] = field(default_factory=dict)
    dials: dict[str, list[float]] = field(default_factory=dict)


async def one_outage(server: RedisServer, callers: Sequence[Caller], down: float) -> Outage:
    """Kill the server while no call is under way, start it after ``down`` seconds, and see who is back when."""
    while any(caller.busy for caller in callers):  # noqa: ASYNC110 - a few milliseconds, once per outage
        await asyncio.sleep(0.001)
    killed = time.monotonic()
    server.kill()
    good = {caller: caller.expect() for caller in callers}
    pong = FirstPong(server.port)
    try:
        await asyncio.sleep(down - (time.monotonic() - killed))
        await asyncio.to_thread(server.start)
        accepted = await asyncio.wait_for(pong.at, PATIENCE)
    finally:
        pong.stop()
    outage = Outage(accepted - killed)
    for caller, future in good.items():
        at = await asyncio.wait_for(future, PATIENCE)
        outage.waits[caller.name] = at - accepted
        outage.after_dial[caller.name] = at - max(dial for dial in caller.dials if dial < at)
        outage.dials[caller.name] = [dial - killed for dial in caller.dials if dial < at]
    return outage


def spread_downs(count: int, seed: int) -> list[float]:
    """Return down times spread evenly over U(0, 2) s: one in each of ``count`` slices, in shuffled order."""
    dice = random.Random(seed)
    downs = [DOWN_AT_LEAST + DOWN_SPREAD * (slot + dice.random()) / count for slot in range(count)]
    dice.shuffle(downs)
    return downs


async def measure(arguments: argparse.Namespace) -> tuple[list[Outage], str]:
    """Return what each outage showed, and the server's version."""
    async with contextlib.AsyncExitStack() as stack:
        server, version = await stack.enter_async_context(running_server())
        retry = Retry(ExponentialBackoff(cap=CAP, base=BASE / 2), RETRIES)
        same = Redis(host=HOST, port=server.port, retry=retry)
        default = Redis(host=HOST, port=server.port)
        ours, reconnector = tether_caller(
            TETHER_SAME,
            server.port,
            retry_interval=exponential_backoff(BASE, 2, maximum=CAP),
            max_retries=None,
            stable_after=0,
            rng=NoDice(),
        )
        default_ours, default_reconnector = tether_caller(TETHER_DEFAULT, server.port)
        callers = [redis_caller(REDIS_SAME, same), ours, redis_caller(REDIS_DEFAULT, default), default_ours]
        for client in (same, default, reconnector.client, default_reconnector.client):
            stack.push_async_callback(client.aclose)
        await stack.enter_async_context(reconnector)
        await stack.enter_async_context(default_reconnector)
        tasks = [asyncio.create_task(caller.run()) for caller in callers]
        stack.callback(lambda: [task.cancel() for task in tasks])
        outages = []
        for down in spread_downs(arguments.outages, arguments.seed):
            await asyncio.sleep(UP)
            outages.append(await one_outage(server, callers, down))
            if not arguments.json:
                print(progress(outages[-1]), file=sys.stderr, flush=True)
        return outages, version


def progress(outage: Outage) -> str:
    waits = ", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in outage.waits.items())
    return f"  down {outage.down:.2f} s; {waits}"


# -- the table --------------------------------------------------------------------------------------------------------


def milliseconds(outages: Sequence[Outage], name: str) -> list[float]:
    return [outage.waits[name] * 1000 for outage in outages]


def spread(values: Sequence[float]) -> str:
    low, high = quartiles(values)
    return f"quartiles {low:.0f}-{high:.0f}, {min(values):.0f} to {max(values):.0f}"


def waits_row(outages: Sequence[Outage], name: str) -> Row:
    values = milliseconds(outages, name)
    return Row(f"back after, {name}", median(values), "ms", note=spread(values))


def comparison_rows(outages: Sequence[Outage]) -> list[Row]:
    """Return tether against redis-py, at the same schedule."""
    pairs = list(zip(milliseconds(outages, TETHER_SAME), milliseconds(outages, REDIS_SAME), strict=True))

    def ratio(sample: Sequence[tuple[float, ...]]) -> float:
        return median([ours for ours, _ in sample]) / median([theirs for _, theirs in sample])

    def difference(sample: Sequence[tuple[float, ...]]) -> float:
        return median([ours - theirs for ours, theirs in sample])

    ok = ratio(pairs) <= RATIO_TARGET or difference(pairs) <= DIFFERENCE_TARGET
    rows = []
    for name, figure, unit, target in (
        ("same schedule: ratio of the medians, tether / redis-py", ratio, "", RATIO_TARGET),
        ("same schedule: median of the paired differences", difference, "ms", DIFFERENCE_TARGET),
    ):
        low, high = bootstrap(pairs, figure)
        rows.append(
            Row(
                name, figure(pairs), unit, target, f"95 % interval {low:.3g} to {high:.3g} (bootstrap)", ok=ok
            )
        )
    return rows


def after_dial_row(outages: Sequence[Outage], name: str) -> Row:
    values = [outage.after_dial[name] * 1000 for outage in outages]
    return Row(
        f"from the dial that got through to the good call, {name}", median(values), "ms", note=spread(values)
    )


def schedule_note(outages: Sequence[Outage], name: str) -> str:
    """Return the median time of each dial of the schedule."""
    columns: list[list[float]] = []
    for outage in outages:
        for number, dial in enumerate(outage.dials[name]):
            if number == len(columns):
                columns.append([])
            columns[number].append(dial)
    times = ", ".join(f"{median(column):.2f}" for column in columns)
    return f"Dials of '{name}', seconds after the kill (medians): {times}."


def dial_count(outages: Sequence[Outage], name: str) -> str:
    return f"Dials per outage, {name}: {median([len(outage.dials[name]) for outage in outages]):g}."


def notes(outages: Sequence[Outage]) -> list[str]:
    waits = ", ".join(f"{min(CAP, BASE * 2**n):g}" for n in range(6))
    pairing = (
        f"Same schedule: both wait {waits}, ... s from the loss on (base {BASE:g} s, factor 2, cap {CAP:g} s, no "
        "jitter); tether dials once more, at the loss. All callers share each outage: the kill comes between calls, "
        f"each calls at once after it and then every {EVERY * 1000:g} ms, and differences are taken within an outage. "
        "Either of the two targets will do."
    )
    defaults = (
        "Defaults, for the record: redis-py repeats a call up to 10 times, after U[0, 1) x 0.01 s x 2^n, at most 1 s, "
        "and then raises (this caller then calls again); RedisReconnector dials within 0.1 s, then after 1, 2, 4 ... "
        "60 s +-10 %, once for all callers."
    )
    counts = (dial_count(outages, name) for name in (REDIS_DEFAULT, TETHER_DEFAULT))
    schedules = (schedule_note(outages, name) for name in (REDIS_SAME, TETHER_SAME))
    return [pairing, *schedules, " ".join((defaults, *counts))]


def main(argv: Sequence[str] | None = None) -> None:
    parser = options(__doc__, quick="4 outages instead of 12")
    parser.add_argument("--outages", type=int, help="how many")
    parser.add_argument("--seed", type=int, default=1, help="of the down times (default: %(default)s)")
    arguments = parser.parse_args(argv)
    arguments.outages = arguments.outages or (4 if arguments.quick else 12)
    logging.getLogger("tether").setLevel(logging.CRITICAL)
    outages, version = asyncio.run(measure(arguments))
    report = Report(
        f"redis_comeback: from 'the server accepts' to the first good call; {len(outages)} outages of "
        f"{DOWN_AT_LEAST:g}-{DOWN_AT_LEAST + DOWN_SPREAD:g} s, {version}, kill -9",
        ("tether", "redis"),
    )
    report.rows = [
        waits_row(outages, REDIS_SAME),
        waits_row(outages, TETHER_SAME),
        *comparison_rows(outages),
        after_dial_row(outages, REDIS_SAME),
        after_dial_row(outages, TETHER_SAME),
        waits_row(outages, REDIS_DEFAULT),
        waits_row(outages, TETHER_DEFAULT),
    ]
    report.notes = notes(outages)
    report.facts = {
        "outages": [
            {"down": o.down, "waits": o.waits, "after_dial": o.after_dial, "dials": o.dials} for o in outages
        ]
    }
    report.show(as_json=arguments.json)


if __name__ == "__main__":
    main()
