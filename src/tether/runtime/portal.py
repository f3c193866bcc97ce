"""One event loop on a thread of its own, for all blocking faces: supervision goes on while a caller blocks.

The thread is there only while somebody holds the portal. In a forked child there is none, and nobody holds it.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar

from tether.errors import UsageError

T = TypeVar("T")

JOIN_TIMEOUT = 5.0
"""Seconds to wait for the thread's end; what it does then has deadlines of its own that are shorter."""


class Portal:
    """Lets threads without an event loop have coroutines run. Thread-safe.

    Attributes:
        epoch: changes in a forked child: who held the portal before the fork does not hold this one.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._holders = 0

    def hold(self) -> None:
        """Have the thread run until ``release()``.

        Raises:
            UsageError: called where an event loop is running.
        """
        refuse_in_loop()
        with self._lock:
            if self._loop is None:
                self._loop, self._thread = _start()
            self._holders += 1

    def release(self) -> None:
        """Hold it no longer; the last one ends the thread, and waits for its end."""
        with self._lock:
            self._holders -= 1
            if self._holders > 0:
                return
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(JOIN_TIMEOUT)

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop, while there is one."""
        return self._loop

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` there, with the caller's context variables, and wait for what it returns or raises.

        Interrupting the wait (Ctrl-C) cancels it.

        Raises:
            UsageError: called where an event loop is running; or nobody holds the portal, or it ended meanwhile.
        """
        try:
            refuse_in_loop()
            loop = self._loop
            if loop is None:
                raise UsageError("it is not started; call start() first")
            future = asyncio.run_coroutine_threadsafe(work, loop)
        except UsageError:
            work.close()
            raise
        except RuntimeError:  # the loop was closed in this very moment
            work.close()
            raise UsageError("it was stopped meanwhile") from None
        try:
            return future.result()
        except CancelledError:
            raise UsageError("it was stopped meanwhile") from None
        except BaseException:
            future.cancel()  # of no effect when it is done
            raise

    def after_fork(self) -> None:
        """Start from nothing: the thread was not taken along."""
        self.epoch += 1
        self._forget()


def refuse_in_loop() -> None:
    """Refuse to block an event loop.

    Raises:
        UsageError: one is running in this thread.
    """
    if asyncio._get_running_loop() is not None:  # noqa: SLF001 - documented for just this; the public one raises
        raise UsageError(
            "this blocks, and an event loop is running in this thread; use the class of the same name without 'sync'"
        )


def _start() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=_run, args=(loop,), name="tether", daemon=True)
    thread.start()
    return loop, thread


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        _unwind(loop)


def _unwind(loop: asyncio.AbstractEventLoop) -> None:
    """End what is left as ``asyncio.run`` does: a call of another thread that is under way must not wait for ever."""
    try:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


portal = Portal()
"""The one of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=portal.after_fork)
