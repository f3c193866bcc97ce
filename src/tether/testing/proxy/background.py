"""An event loop on a thread of its own, for callers who have none."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["LoopThread", "call_on"]

T = TypeVar("T")

_DEADLINE = 10.0  # seconds in which the loop must have done what it was asked; none of it waits for a peer


def call_on(loop: asyncio.AbstractEventLoop, act: Callable[[], T]) -> T:
    """Run ``act`` on the loop, from whatever thread, and return its result, or raise its error.

    Raises:
        RuntimeError: the loop is closed.
        TimeoutError: the loop did not get round to it; it is blocked, or stopped.
    """
    if asyncio._get_running_loop() is loop:  # noqa: SLF001 - documented, and the only one that does not raise
        return act()
    done: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        if done.set_running_or_notify_cancel():
            try:
                done.set_result(act())
            except BaseException as error:  # noqa: BLE001 - it is the caller's
                done.set_exception(error)

    loop.call_soon_threadsafe(run)
    try:
        return done.result(_DEADLINE)
    except TimeoutError:
        if not done.done():
            done.cancel()
        raise


class LoopThread:
    """Runs an event loop on a thread, from ``start()`` to ``stop()``.

    Attributes:
        loop: the loop; only while it runs.
    """

    loop: asyncio.AbstractEventLoop

    def __init__(self, name: str) -> None:
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._ready = threading.Event()
        self._end: asyncio.Event

    def start(self) -> None:
        """Start the thread, and wait until its loop runs. Raises RuntimeError at the second call."""
        self._thread.start()
        if not self._ready.wait(_DEADLINE):
            raise TimeoutError("the event loop's thread did not start")

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop, and return its result. Raises TimeoutError after 10 s."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(_DEADLINE)

    def stop(self) -> None:
        """End the loop and the thread."""
        self.loop.call_soon_threadsafe(self._end.set)
        self._thread.join(_DEADLINE)

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self._ready.set()
        await self._end.wait()
