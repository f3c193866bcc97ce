"""A coroutine with a deadline: its verdict does not wait for the coroutine, nor blame a peer for our own lateness.

Three things ``asyncio.timeout`` does not give: the outcome is told at the deadline, even when the coroutine takes its
time to be cancelled (a driver's polite close may hang on a mute peer); time in which this process's own loop was
blocked does not count against the peer; and a success that comes after the verdict is handed over to be cleaned up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from tether.core.duration import compact

T = TypeVar("T")

SLICES = 4
"""The deadline is checked in so many steps. One that comes late moves the deadline: so at most one slice is unseen."""

LATE = 0.05
"""Seconds. A step that comes later than this means that our own loop was blocked."""


ENDING = 0.1
"""Seconds after which a loop that cancels all tasks, but does not end, sees the cancelled work fail."""


class Bounded(Generic[T]):
    """One coroutine under way.

    Exactly one of ``on_done(result, None)`` and ``on_done(None, error)`` follows; nothing once ``cancel()`` was called.

    Args:
        coro: what to run.
        timeout: seconds it may take, not counting those in which our own loop was blocked.
        on_done: told the outcome, once.
        on_late: told a result that came after the verdict, or after ``cancel()``.
        on_stall: told by how many seconds our own loop was late.
    """

    __slots__ = ("_due", "_handle", "_left", "_on_done", "_on_late", "_on_stall", "_timeout", "task")

    def __init__(
        self,
        coro: Coroutine[Any, Any, T],
        timeout: float,
        on_done: Callable[[T | None, BaseException | None], None],
        on_late: Callable[[T], None],
        on_stall: Callable[[float], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self._timeout = timeout
        self._on_done: Callable[[T | None, BaseException | None], None] | None = on_done
        self._on_late = on_late
        self._on_stall = on_stall
        self.task = loop.create_task(coro)
        self.task.add_done_callback(self._finished)
        self._left = SLICES
        self._due = loop.time() + timeout / SLICES
        self._handle = loop.call_at(self._due, self._step)

    def cancel(self) -> None:
        """End it without a verdict. The task may still take a while to unwind: await ``task``, with a deadline."""
        self._on_done = None
        self._handle.cancel()
        self.task.cancel()

    def _step(self) -> None:
        """One slice of the time is over. One that our own loop slept through is given again."""
        if self.task.done():
            return  # its outcome is on the way, and counts
        loop = asyncio.get_running_loop()
        late = loop.time() - self._due
        if late > LATE:
            self._on_stall(late)
        else:
            self._left -= 1
        if self._left == 0:
            self.task.cancel()
            self._tell(None, TimeoutError(f"no answer within {compact(self._timeout)}"))
            return
        # From when it was due, unless it was late: small delays of the loop must not add up.
        self._due = (loop.time() if late > LATE else self._due) + self._timeout / SLICES
        self._handle = loop.call_at(self._due, self._step)

    def _finished(self, task: asyncio.Task[T]) -> None:
        self._handle.cancel()
        if task.cancelled():
            self._cancelled(task)
        elif (failure := task.exception()) is not None:
            self._tell(None, failure)
        elif self._on_done is not None:
            self._tell(task.result(), None)
        else:
            self._on_late(task.result())

    def _cancelled(self, task: asyncio.Task[T]) -> None:
        """Somebody else cancelled it: mostly a loop that ends, and then this comes too late to start anything new."""
        if self._on_done is not None:
            error = asyncio.CancelledError("the task was cancelled from outside")
            task.get_loop().call_later(ENDING if task.cancelling() else 0, self._tell, None, error)

    def _tell(self, result: T | None, error: BaseException | None) -> None:
        on_done, self._on_done = self._on_done, None
        if on_done is not None:
            on_done(result, error)
