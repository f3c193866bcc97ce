"""Users' calls: what they do, and in which ways each of them may end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.simulation.connector import Pool, SimulatedConnector
from tests.simulation.servers import RESET, Handle
from tests.simulation.story import TINY, Story
from tether import IndeterminateError, NotConnected, Reconnector
from tether.errors import UsageError

SPARED = {"stop", "reconnect"}
"""Ends of calls that replace the connection by themselves: those are not cut off by it."""


class OwnError(Exception):
    """An error of the user's own, that no rule knows."""


class Call:
    """One call by ``run()`` or ``guard()``.

    Args:
        r: whose.
        connector: its connector.
        story: its story.
        how: ``run`` or ``guard``.
        args: idempotent, timeout, how long the operation takes, how it ends, when it is cancelled.
    """

    def __init__(
        self,
        r: Reconnector[Any],
        connector: SimulatedConnector,
        story: Story,
        how: str,
        args: tuple[Any, ...],
    ) -> None:
        self.r, self.connector, self.story, self.how = r, connector, story, how
        self.idempotent, self.timeout, self.takes, self.ends, _ = args
        if how == "guard":
            self.idempotent, self.timeout = False, None
        self.running: int | None = None
        self.cancelled = False
        self._began: list[tuple[int, float]] = []
        self._error: BaseException | None = None
        self._result: object = None

    # -- the operation ------------------------------------------------------------------------------------------------

    async def _operation(self, client: Any) -> object:
        generation = client.generation if isinstance(client, Handle) else self.r.generation
        self.story.must(
            not isinstance(client, Handle) or client is self.story.live_handle,
            "calls get the live connection",
        )
        self.running, self._result, self._error = self.story.live, None, None
        self._began.append((generation, self.story.now()))
        try:
            self._result = await self._work(client, generation)
        except BaseException as error:
            self._error = error
            raise
        finally:
            self.running = None
        if isinstance(client, Pool):  # the peer is back, if it was away
            self.story.asks("call")
        return self._result

    async def _work(self, client: Any, generation: int) -> object:
        try:
            await asyncio.sleep(self.takes)
            await self._exchange(client)
        except asyncio.CancelledError:
            if self.ends != "swallow":
                raise
        match self.ends:
            case "reset":
                self.story.justify(generation, "call")
                raise RESET(104, "in a call")
            case "own":
                raise OwnError
            case "late":
                raise TimeoutError("the call's own")
            case "lose" if isinstance(client, Handle):
                self.connector.lose(client, RESET(104, "lost in a call"))
                await asyncio.sleep(0.1)
            case "stop":
                await self.r.stop()
            case "reconnect":
                self.story.asks("force")
                try:
                    await self.r.reconnect()
                except UsageError:  # paused, or stopped meanwhile
                    pass
        return object()

    async def _exchange(self, client: Any) -> None:
        if isinstance(client, Pool):
            await client.call()
            return
        try:
            await self.connector.server.exchange(client, self.connector.dice)
        except Exception:
            self.story.justify(client.generation, "call")
            raise

    # -- its end ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Make the call, and look at how it ends."""
        story, began, stalled = self.story, self.story.now(), self.story.stalled
        result: object = None
        error: BaseException | None = None
        try:
            result = await self._make()
        except BaseException as raised:
            error = raised
        task = asyncio.current_task()
        assert task is not None
        story.note(f"{self.how} ends: {'result' if error is None else type(error).__name__}")
        took, late = story.now() - began, story.stalled - stalled
        if self.timeout is not None and self.ends not in {"stop", "swallow"}:
            story.must(took <= self.timeout + late + TINY, "a deadline is kept", f"{took} > {self.timeout}")
        story.must(self.cancelled or not task.cancelling(), "no cancellation is left behind", self.ends)
        if error is None:
            story.must(result is self._result, "a result is the operation's", self.ends)
        else:
            self._check(error, took)
        if isinstance(error, asyncio.CancelledError):
            raise error

    async def _make(self) -> object:
        if self.how == "run":
            return await self.r.run(self._operation, idempotent=self.idempotent, timeout=self.timeout)
        async with self.r.guard() as client:
            return await self._operation(client)

    def _check(self, error: BaseException, took: float) -> None:
        must = self.story.must
        ended = f"{type(error).__name__}, the operation: {self._error!r}"
        if isinstance(error, asyncio.CancelledError):
            must(self.cancelled, "only the cancelled are cancelled", self.ends)
        elif error is self._error:
            pass
        elif isinstance(error, IndeterminateError):
            must(self._was_cut(), "indeterminate only when under way at a loss", ended)
            swallowed = self.cancelled and isinstance(self._error, asyncio.CancelledError)
            must(not swallowed, "the cancelled are cancelled", self.ends)
        elif isinstance(error, NotConnected):
            own = self.connector.client is not None
            must(not self._began or self.idempotent or own, "not connected only when it has not begun", ended)
        elif isinstance(error, TimeoutError):
            must(
                self.timeout is not None and took >= self.timeout - TINY, "no timeout before its time", ended
            )
        else:
            must(isinstance(error, UsageError) and not self._began, "a call ends in one of six ways", ended)

    def _was_cut(self) -> bool:
        """Whether the connection of the last operation was lost in it, or the operation saw it die."""
        if not self._began:
            return False
        generation, since = self._began[-1]
        ended = self.story.ends.get(generation)
        return (ended is not None and ended >= since) or isinstance(self._error, OSError)


class Waiter:
    """Somebody who waits for a connection, or for the end of an attempt.

    Args:
        what: ``wait``, ``reconnect``, ``start`` or ``stop``.
        make: begins it.
    """

    def __init__(
        self, story: Story, what: str, make: Callable[[], Any], timeout: float | None = None
    ) -> None:
        self.story, self.what, self._make, self._timeout = story, what, make, timeout
        self.began = story.now()
        self.cancelled = False

    async def run(self) -> None:
        """Wait, and look at how it ends."""
        story, stalled = self.story, self.story.stalled
        try:
            await self._make()
            ended = "well"
        except asyncio.CancelledError:
            story.must(self.cancelled, "only the cancelled are cancelled", self.what)
            raise
        except TimeoutError:
            ended = "TimeoutError"
            took = story.now() - self.began
            in_time = self._timeout is not None and took >= self._timeout - TINY
            story.must(in_time, "no timeout before its time", self.what)
        except (NotConnected, UsageError) as error:
            ended = type(error).__name__
        late = story.stalled - stalled
        if self._timeout is not None:
            took = story.now() - self.began
            story.must(took <= self._timeout + late + TINY, "a deadline is kept", self.what)
        story.note(f"{self.what} ends: {ended}")
