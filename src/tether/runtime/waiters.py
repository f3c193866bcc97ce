"""Those who wait for one thing: each gets a future of their own, so that a cancelled one cancels nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Waiters(Generic[T]):
    """Futures that are resolved together."""

    __slots__ = ("_futures",)

    def __init__(self) -> None:
        self._futures: list[asyncio.Future[T]] = []

    def __len__(self) -> int:
        return len(self._futures)

    def add(self) -> asyncio.Future[T]:
        """Return a future for one who waits; it is forgotten when it is done or cancelled."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._futures.append(future)
        future.add_done_callback(self._forget)
        return future

    def _forget(self, future: asyncio.Future[T]) -> None:
        if future in self._futures:
            self._futures.remove(future)

    def resolve(self, result: T) -> None:
        """Give all of them the result."""
        for future in self._take():
            future.set_result(result)

    def refuse(self, error: Callable[[], Exception]) -> None:
        """Have each raise an error of its own: a shared one would gather the frames of all."""
        for future in self._take():
            future.set_exception(error())

    def abandon(self) -> object:
        """Return them as they are, and forget them: they are another process's."""
        futures, self._futures = self._futures, []
        return futures

    def clear(self) -> None:
        """Forget them: their loop is gone."""
        self._futures.clear()

    def _take(self) -> list[asyncio.Future[T]]:
        futures, self._futures = self._futures, []
        return [future for future in futures if not future.done()]
