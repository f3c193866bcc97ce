"""A coroutine with a deadline: its verdict does not wait for the coroutine, nor blame a peer for our own lateness.

Three things ``asyncio.timeout`` does not give: the outcome is told at the deadline, even when the coroutine takes its
time to be cancelled (a driver's polite close may hang on a mute peer); a deadline that comes late, because this
process's own loop was blocked, is extended instead of blaming the peer; and a success that comes after the verdict is
handed over to be cleaned up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from tether.core.duration import compact

T = TypeVar("T")

LATE = 0.05
"""Seconds. A deadline that fires later than this, and a tenth of itself, means that our own loop was blocked."""


class Bounded(Generic[T]):
    """One coroutine under way.

    Exactly one of ``on_done(result, None)`` and ``on_done(None, error)`` follows; nothing once ``cancel()`` was called.

    Args:
        coro: what to run.
        timeout: seconds it may take.
        on_done: told the outcome, once.
        on_late: told a result that came after the verdict, or after ``cancel()``.
        on_stall: told by how many seconds our own loop was late when the deadline was extended.
    """

    __slots__ = ("_deadline", "_handle", "_on_done", "_on_late", "_on_stall", "_timeout", "task")

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
        self._deadline = loop.time() + timeout
        self._handle = loop.call_at(self._deadline, self._expired)

    def cancel(self) -> None:
        """End it without a verdict. The task may still take a while to unwind: await ``task``, with a deadline."""
        self._on_done = None
        self._handle.cancel()
        self.task.cancel()

    def _expired(self) -> None:
        if self.task.done():
            return  # its outcome is on the way, and counts
        loop = asyncio.get_running_loop()
        late = loop.time() - self._deadline
        if late > max(LATE, self._timeout / 10):
            self._deadline = loop.time() + self._timeout
            self._handle = loop.call_at(self._deadline, self._expired)
            self._on_stall(late)
            return
        self.task.cancel()
        self._tell(None, TimeoutError(f"no answer within {compact(self._timeout)}"))

    def _finished(self, task: asyncio.Task[T]) -> None:
        self._handle.cancel()
        if task.cancelled():
            self._tell(None, asyncio.CancelledError("the task was cancelled from outside"))
        elif (error := task.exception()) is not None:
            self._tell(None, error)
        elif self._on_done is not None:
            self._tell(task.result(), None)
        else:
            self._on_late(task.result())

    def _tell(self, result: T | None, error: BaseException | None) -> None:
        on_done, self._on_done = self._on_done, None
        if on_done is not None:
            on_done(result, error)
