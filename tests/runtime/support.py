"""What the runtime's tests share: the virtual clock as a decorator, and connectors that misbehave at any step."""

from __future__ import annotations

import asyncio
import functools
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, ParamSpec

from tether import ReconnectEvent, Reconnector
from tether.backoff import fixed_interval
from tether.core.events import Kind
from tether.ports import Attempt
from tether.testing.clock import VirtualTimeLoop, run_virtual
from tether.testing.scripted import Outcome, ScriptedConnection, ScriptedConnector

P = ParamSpec("P")
R = Reconnector[ScriptedConnection]

STOP_BOUND = 0.61
"""Seconds: the grace of callbacks (0.3 s), and as long again for those that are cancelled."""

REFUSED = ConnectionRefusedError
"""A step of a script. The type: one instance raised a thousand times would keep a thousand frames."""


def virtual(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test on the virtual clock; when it ends, no task may be left."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        run_virtual(_leaving_nothing(test(*args, **kwargs)))

    return run


async def _leaving_nothing(test: Coroutine[Any, Any, None]) -> None:
    await test
    await settle()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks left behind: {left}"


async def settle() -> None:
    """Let everything run that is ready, without any time passing."""
    for _ in range(20):
        await asyncio.sleep(0)


def now() -> float:
    """Virtual seconds since the test began."""
    return asyncio.get_running_loop().time()


def stall(seconds: float) -> None:
    """Block the loop, as ``time.sleep`` in a callback would."""
    VirtualTimeLoop.current().stall(seconds)


def timers() -> list[asyncio.TimerHandle]:
    """Return the timers of the loop that would still go off."""
    scheduled: list[asyncio.TimerHandle] = VirtualTimeLoop.current()._scheduled
    return [timer for timer in scheduled if not timer.cancelled()]


class Chance(random.Random):
    """Dice that always fall the same way."""

    def __init__(self, value: float = 0.5) -> None:
        super().__init__()
        self._value = value

    def random(self) -> float:
        return self._value


class Notes(list[Any]):
    """What happened, in order; hand it over as a subscriber, or call it with anything."""

    def __call__(self, *what: Any) -> None:
        self.append(what[0] if len(what) == 1 else what)

    @property
    def kinds(self) -> list[Kind]:
        """The kinds of the events noted."""
        return [event.kind for event in self if isinstance(event, ReconnectEvent)]

    def of(self, *kinds: Kind) -> list[ReconnectEvent]:
        """Return the events of some kinds."""
        return [event for event in self if isinstance(event, ReconnectEvent) and event.kind in kinds]


class Reported:
    """Takes a mailbox's reports.

    Attributes:
        failures: (name, what) of each callback that failed.
        dropped: calls dropped.
        bunches: (virtual time, name, count) of each time that drops were told.
    """

    def __init__(self) -> None:
        self.failures: list[tuple[str, str]] = []
        self.dropped = 0
        self.bunches: list[tuple[float, str, int]] = []

    def failed(self, name: str, what: str, error: BaseException) -> None:
        self.failures.append((name, what))

    def count_dropped(self, count: int) -> None:
        self.dropped += count

    def tell_dropped(self, name: str, count: int) -> None:
        self.bunches.append((now(), name, count))


Step = Callable[[ScriptedConnection], Awaitable[Any]]


class Misbehaving(ScriptedConnector):
    """A scripted connector of which single steps are replaced by the test's own.

    Args:
        script: as ``ScriptedConnector``'s.
        open: called with the attempt instead of ``open``; ``scripted_open`` is the original.
        restore: called with the connection instead of ``restore``.
        probe: called with the connection instead of ``probe``; ``scripted_probe`` is the original.
        close: called with the connection instead of ``close``.
        abort: called with the connection after ``abort``.
    """

    def __init__(
        self,
        script: Iterable[Outcome] = (),
        *,
        then: Outcome | None = None,
        open: Callable[[Attempt], Awaitable[ScriptedConnection]] | None = None,
        restore: Step | None = None,
        probe: Step | None = None,
        close: Step | None = None,
        abort: Callable[[ScriptedConnection], object] | None = None,
    ) -> None:
        super().__init__(script, then=then)
        self._steps = {"restore": restore, "probe": probe, "close": close}
        self._open, self._abort = open, abort
        self.closes = 0
        self.aborts = 0

    async def open(self, attempt: Attempt) -> ScriptedConnection:
        return await (self.scripted_open(attempt) if self._open is None else self._open(attempt))

    async def scripted_open(self, attempt: Attempt) -> ScriptedConnection:
        return await super().open(attempt)

    async def restore(self, handle: ScriptedConnection) -> Sequence[str]:
        step = self._steps["restore"]
        if step is None:
            return await super().restore(handle)
        self.restores += 1
        return await step(handle) or ()

    async def probe(self, handle: ScriptedConnection) -> None:
        step = self._steps["probe"]
        if step is None:
            await super().probe(handle)
            return
        self.probes += 1
        await step(handle)

    async def scripted_probe(self, handle: ScriptedConnection) -> None:
        self.probes -= 1  # counted already
        await super().probe(handle)

    async def close(self, handle: ScriptedConnection) -> None:
        self.closes += 1
        step = self._steps["close"]
        if step is None:
            handle.closed = True
        else:
            await step(handle)

    def abort(self, handle: ScriptedConnection) -> None:
        self.aborts += 1
        super().abort(handle)
        if self._abort is not None:
            self._abort(handle)


async def forever(*_: Any) -> Any:
    """Hang until cancelled."""
    await asyncio.get_running_loop().create_future()


def stubborn(seconds: float) -> Callable[..., Awaitable[Any]]:
    """Return a step that hangs, and that takes ``seconds`` to give in to a cancellation."""

    async def step(*_: Any) -> Any:
        try:
            await forever()
        finally:
            end = now() + seconds
            while now() < end:
                try:
                    await asyncio.sleep(end - now())
                except asyncio.CancelledError:
                    continue

    return step


def supervise(connector: ScriptedConnector, **options: Any) -> R:
    """Return a reconnector whose delays are 1 s each and whose dice fall in the middle, unless told otherwise."""
    options.setdefault("name", "db")
    options.setdefault("retry_interval", fixed_interval(1))
    options.setdefault("quick_first_retry", False)
    options.setdefault("rng", Chance())
    options.setdefault("logger", logging.getLogger("tests.quiet"))
    return Reconnector(connector, **options)


async def cancelled(task: asyncio.Task[Any]) -> bool:
    """Cancel ``task`` and tell whether it ended so."""
    task.cancel()
    await asyncio.wait({task})
    return task.cancelled()


logging.getLogger("tests.quiet").addHandler(logging.NullHandler())
logging.getLogger("tests.quiet").propagate = False
