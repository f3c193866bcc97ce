"""Observers: users' callbacks, each behind a bounded queue of its own.

A callback that raises, hangs or is slow is logged and counted; it never stops or delays reconnection, nor another
callback. A worker task exists only while there is something to deliver.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any, Protocol

from tether.core.duration import compact
from tether.runtime.drops import Drops

QUEUE_LIMIT = 100
"""Calls kept per callback that cannot keep up; then the oldest is dropped and counted."""


class Reports(Protocol):
    """Who is told of what goes wrong here."""

    def failed(self, name: str, what: str, error: BaseException) -> None:
        """A callback raised, or took too long."""

    def count_dropped(self, count: int) -> None:
        """Calls were dropped just now; this comes at once, for the figures."""

    def tell_dropped(self, name: str, count: int) -> None:
        """So many calls were dropped since the last time; this comes in bunches, for people."""


class Mailbox:
    """Delivers calls to one callback, in order, one at a time.

    Args:
        callback: sync (called on the loop's thread) or async.
        name: for messages.
        reports: told of every failure and drop.
        timeout: seconds that one async call may take; ``None`` for no limit.
        limit: calls kept while the callback is busy.

    Attributes:
        is_stopping: whether the call under way has asked for the end of all this, and so is to finish.
    """

    __slots__ = (
        "_drops",
        "_limit",
        "_queue",
        "_reports",
        "_task",
        "_timeout",
        "callback",
        "is_stopping",
        "name",
    )

    def __init__(
        self,
        callback: Callable[..., Any],
        name: str,
        reports: Reports,
        timeout: float | None,
        limit: int = QUEUE_LIMIT,
    ) -> None:
        self.callback, self.name = callback, name
        self._reports = reports
        self._drops = Drops(partial(reports.tell_dropped, name))
        self._timeout, self._limit = timeout, limit
        self._queue: deque[tuple[Any, ...]] = deque()
        self._task: asyncio.Task[None] | None = None
        self.is_stopping = False

    def post(self, *args: Any) -> None:
        """Have the callback called with ``args``, soon. Never waits."""
        if len(self._queue) >= self._limit:
            self._queue.popleft()
            self._dropped(1)
        self._queue.append(args)
        if self.task is None:
            self._task = asyncio.get_running_loop().create_task(self._work(), name=f"tether {self.name}")

    @property
    def dropped(self) -> int:
        """Calls dropped because the queue was full, or because there was no time left for them."""
        return self._drops.count

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The worker, while there is one."""
        return None if self._task is None or self._task.done() else self._task

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way, and nothing is left to be told."""
        return self.task is None and not self._drops.is_holding_back

    def forget(self) -> None:
        """Drop what waits, and the worker of a loop that is gone."""
        self._queue.clear()
        self._task = None
        self._drops.flush()

    def abandon(self) -> object:
        """Forget, untouched, what is another process's; return it."""
        left = (self._task, tuple(self._queue), self._drops.abandon())
        self._queue.clear()
        self._task, self.is_stopping = None, False
        return left

    def drop_waiting(self) -> None:
        """Drop, and count, what waits behind the call under way; tell all drops that were not told yet."""
        count = len(self._queue)
        self._queue.clear()
        if count:
            self._dropped(count)
        self._drops.flush()

    def _dropped(self, count: int) -> None:
        self._reports.count_dropped(count)
        self._drops.add(count)

    async def _work(self) -> None:
        _worker.set(asyncio.current_task())
        while self._queue:
            await self._call(self._queue.popleft())

    async def _call(self, args: tuple[Any, ...]) -> None:
        deadline: asyncio.Timeout | None = None
        try:
            result = self.callback(*args)
            if inspect.isawaitable(result):
                async with asyncio.timeout(self._timeout) as deadline:
                    await result
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Not us: something that it awaited was cancelled.
            self._reports.failed(self.name, "was cancelled from inside", error)
        except Exception as error:  # noqa: BLE001 - whatever a user's callback raises ends here
            late = isinstance(error, TimeoutError) and deadline is not None and deadline.expired()
            what = f"took more than {compact(self._timeout or 0)}" if late else "raised"
            self._reports.failed(self.name, what, error)
        finally:
            self.is_stopping = False


_worker: ContextVar[asyncio.Task[Any] | None] = ContextVar("tether_callback_worker", default=None)
"""The worker that the running code belongs to, through any tasks that a callback has made."""


async def finish(mailboxes: list[Mailbox], grace: float) -> None:
    """Give running callbacks ``grace`` seconds, then cancel them.

    The callback that asks for this is neither waited for nor cancelled, by nobody: it is to finish.
    """
    own = {asyncio.current_task(), _worker.get()} - {None}
    for box in mailboxes:
        box.is_stopping = box.is_stopping or box.task in own
    tasks = {box.task: box for box in mailboxes if box.task is not None and not box.is_stopping}
    try:
        if tasks:
            await asyncio.wait(tasks, timeout=grace)
    finally:
        late = {task for task, box in tasks.items() if not task.done() and not box.is_stopping}
        for box in mailboxes:
            box.drop_waiting()
        for task in late:
            task.cancel()
    if late:
        await asyncio.wait(late, timeout=grace)
