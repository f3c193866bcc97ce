"""Virtual time for tests: an asyncio loop whose clock jumps to the next timer when all are idle.

Here: the loop, the runner, and the error for a test in which nothing can happen any more.
Not here: the clock that production code is given (``tether.runtime``), and faults of the network.

What is real stays real: sockets, pipes and threads work, but they take no virtual time. The clock
waits for executor jobs, however long they take. It cannot know of other processes, of peers that
answer late, or of threads that were started by hand: tests with these set ``grace``.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import math
import selectors
from pathlib import Path
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Self, TypeVar, TypeVarTuple, Unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from concurrent.futures import Executor
    from contextvars import Context

    from _typeshed import FileDescriptorLike

__all__ = ["Deadlock", "VirtualTimeLoop", "run_virtual"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_logger = logging.getLogger("tether.testing")

# Real seconds without an event after which a clock that is held by jobs says who holds it.
_PATIENCE = 10.0
_MOST_TASKS_NAMED = 20


class Deadlock(RuntimeError):
    """Every task waits, and nothing is left that could wake one of them.

    Attributes:
        tasks: the names of all the tasks that wait, sorted.
    """

    def __init__(self, message: str, *, tasks: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.tasks = tasks


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop in which waiting for a timer takes no real time.

    ``time()`` begins at ``start`` and moves only when the loop would wait for a timer (then it
    lands exactly on it), or by ``stall()``. Callbacks run in the order of their times, and those
    of the same instant in the order of the calls that scheduled them.

    The caller must close the loop; ``run_virtual()`` does.

    Args:
        grace: real seconds to wait for sockets and threads before each jump, and never longer
            than the jump itself. With 0.0 only what is ready at once is seen before the clock
            jumps; that is enough when both ends of a socket live on this loop.
        start: the first value of ``time()``, in seconds.

    Raises:
        ValueError: ``grace`` is negative, or ``start`` is not finite.
    """

    # The parts of asyncio's base class that its stubs leave out.
    _scheduled: list[asyncio.TimerHandle]
    _clock_resolution: float
    _check_closed: Callable[[], None]
    _check_thread: Callable[[], None]

    def __init__(self, *, grace: float = 0.0, start: float = 0.0) -> None:
        self._now = start
        self._grace = grace
        self._orders = itertools.count()
        self._jobs: dict[object, str] = {}
        self._real = selectors.DefaultSelector()
        super().__init__(_IdleSelector(self._real, self._when_idle))
        if not (grace >= 0 and math.isfinite(start)):
            self.close()  # or the garbage collector would complain about an open loop as well
            message = f"grace must be >= 0 and start finite, not grace={grace!r}, start={start!r}"
            raise ValueError(message)
        self._move_to(start)

    @classmethod
    def current(cls) -> Self:
        """The virtual loop that runs the caller.

        Raises:
            RuntimeError: no loop runs here, or one with a real clock.
        """
        loop = asyncio.get_running_loop()
        if not isinstance(loop, cls):
            message = f"{loop!r} has a real clock: start the test with run_virtual()"
            raise RuntimeError(message)  # noqa: TRY004 - the place of the call is wrong, not a type
        return loop

    def time(self) -> float:
        """Virtual seconds; never goes back."""
        return self._now

    def stall(self, seconds: float) -> None:
        """Imitate code that blocks the loop for ``seconds``, as ``time.sleep`` in a callback would.

        On return the time has passed, and nothing else has run; overdue timers run, in order, as
        soon as the caller gives way.

        Raises:
            ValueError: ``seconds`` is negative or not finite.
        """
        if not (seconds >= 0 and math.isfinite(seconds)):
            message = f"a stall takes a finite number of seconds >= 0, not {seconds!r}"
            raise ValueError(message)
        self._move_to(self._now + seconds)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """As asyncio's, but first come first served among timers of the same instant."""
        self._check_closed()
        if self.get_debug():
            self._check_thread()
        timer = _Timer(when, callback, args, self, context)
        timer.order = next(self._orders)
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True  # noqa: SLF001 - as asyncio's own call_at does; cancel() reads it
        return timer

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """As asyncio's; the clock stands still until the job is done, or its future is cancelled."""
        future = super().run_in_executor(executor, func, *args)
        self._jobs[future] = repr(func)
        future.add_done_callback(self._jobs.pop)
        return future

    def shutdown_default_executor(self, timeout: float | None = None) -> Coroutine[Any, Any, None]:
        """As asyncio's, but ``timeout`` has no effect: the clock stands still meanwhile."""
        del timeout
        return self._join_executor()

    async def _join_executor(self) -> None:
        # The threads are joined by a thread of which run_in_executor never hears.
        hold = object()
        self._jobs[hold] = "the shutdown of the default executor"
        try:
            await super().shutdown_default_executor()
        finally:
            del self._jobs[hold]

    def _when_idle(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for something real, or else move the clock to the next timer."""
        if self._jobs:
            return self._wait_for_jobs()
        when = self._scheduled[0].when() if self._scheduled else math.inf
        if math.isinf(when):  # asyncio.sleep(inf) is no timer that a clock could reach
            if not self._may_be_woken():
                raise self._deadlock()
            return self._real.select(None)
        events = self._real.select(min(self._grace, when - self._now)) if self._grace else []
        if not events:
            self._move_to(when)
        return events

    def _wait_for_jobs(self) -> list[tuple[selectors.SelectorKey, int]]:
        events = self._real.select(_PATIENCE)
        if not events:
            _logger.warning(
                "the virtual clock has stood at %s for %s real seconds, held by %s; "
                "a job that waits for timers of this loop never ends",
                self._now,
                _PATIENCE,
                ", ".join(self._jobs.values()),
            )
        return events

    def _move_to(self, when: float) -> None:
        self._now = when
        # asyncio runs what is due before now + resolution. The sum must differ from now, or a timer
        # at now would never run; a nanosecond is too little after half a year.
        self._clock_resolution = max(1e-9, math.ulp(self._now))

    def _may_be_woken(self) -> bool:
        """Whether a thread, a signal or a file other than the loop's own self-pipe may still call."""
        watched = len(self._real.get_map())
        return self._grace > 0 or watched > 1 or bool(getattr(self, "_signal_handlers", None))

    def _deadlock(self) -> Deadlock:
        tasks = sorted(asyncio.all_tasks(self), key=asyncio.Task.get_name)
        lines = [_describe(task) for task in tasks[:_MOST_TASKS_NAMED]]
        if len(tasks) > len(lines):
            lines.append(f"... and {len(tasks) - len(lines)} more")
        message = (
            f"at virtual time {self._now} nothing is scheduled and nothing is under way, so what is "
            "waited for can never come (if a process or a thread of its own is to wake the loop, set "
            "grace); waiting:" + "".join(f"\n  {line}" for line in lines or ["no task at all"])
        )
        return Deadlock(message, tasks=tuple(task.get_name() for task in tasks))


def run_virtual(main: Coroutine[Any, Any, T], *, grace: float = 0.0, start: float = 0.0) -> T:
    """Run ``main`` to its end on a new ``VirtualTimeLoop``, then clean up as ``asyncio.run`` does.

    Args:
        main: the coroutine to run.
        grace: real seconds to wait for sockets and threads before each jump of the clock.
        start: the first value of the loop's ``time()``, in seconds.

    Raises:
        Deadlock: every task waits for something that can never come. The tasks are cancelled.
        RuntimeError: called from inside a running loop.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(grace=grace, start=start)) as runner:
        return runner.run(main)


class _Timer(asyncio.TimerHandle):
    """A timer with a place in the queue of its instant.

    On a real clock two calls hardly ever share an instant, so asyncio leaves the order of equal
    times to the heap. On this clock they share it all the time.
    """

    __slots__ = ("order",)
    order: int
    _scheduled: bool

    def __lt__(self, other: asyncio.TimerHandle) -> bool:
        if not isinstance(other, _Timer):
            return NotImplemented
        return (self.when(), self.order) < (other.when(), other.order)


class _IdleSelector(selectors.BaseSelector):
    """A selector that never waits by itself: when nothing is ready it asks ``when_idle``."""

    def __init__(
        self,
        real: selectors.BaseSelector,
        when_idle: Callable[[], list[tuple[selectors.SelectorKey, int]]],
    ) -> None:
        self._real = real
        self._when_idle = when_idle

    def register(
        self, fileobj: FileDescriptorLike, events: int, data: object = None
    ) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: FileDescriptorLike, events: int, data: object = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = self._real.select(0)
        if events or timeout == 0:
            return events
        return self._when_idle()

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


def _describe(task: asyncio.Task[Any]) -> str:
    """The task's name, and the lines at which it waits, from the outermost call to the innermost."""
    steps = []
    awaited: object = task.get_coro()
    while isinstance(awaited, CoroutineType) and (frame := awaited.cr_frame):
        place = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        steps.append(f"{awaited.__name__} ({place})")
        awaited = awaited.cr_await
    return f"{task.get_name()}: {' > '.join(steps)}"
