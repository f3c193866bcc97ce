"""The blocking face of a reconnector: the same methods without ``await``, for threads without an event loop.

The reconnector itself lives in the portal's event loop. Here is what is more than handing a call over: ``run()`` and
``guard()``, which stay on the caller's thread, and callbacks, which are called on threads of their own.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from tether.core import signals as sig
from tether.core.events import ReconnectEvent
from tether.core.lifecycle import Status
from tether.errors import IndeterminateError, UsageError
from tether.runtime import calls
from tether.runtime.bus import EventStream
from tether.runtime.engine import Engine
from tether.runtime.portal import portal, refuse_in_loop
from tether.runtime.reconnector import Reconnector

C = TypeVar("C")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Held:
    """Holds the portal between ``start()`` and ``stop()``, in this process. Thread-safe."""

    def __init__(self) -> None:
        self._epoch: int | None = None
        self._lock = threading.Lock()

    def take(self) -> None:
        """Hold it, if it is not held."""
        with self._lock:
            if self._epoch != portal.epoch:
                portal.hold()
                self._epoch = portal.epoch

    def drop(self) -> None:
        """Hold it no longer, if it is held."""
        with self._lock:
            is_held, self._epoch = self._epoch == portal.epoch, None
        if is_held:
            portal.release()

    @property
    def is_held(self) -> bool:
        """Whether it is."""
        return self._epoch == portal.epoch


class Blocking(Generic[C]):
    """What ``tether.sync.Reconnector`` is made of.

    Args:
        inner: the reconnector.
    """

    def __init__(self, inner: Reconnector[C]) -> None:
        self._inner = inner
        self._held = Held()

    @property
    def _engine(self) -> Engine[Any]:
        return self._inner._engine  # noqa: SLF001 - two faces of one thing

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        """Have a coroutine of the reconnector's run in the portal; before ``start()`` it has nothing to wait for."""
        return portal.call(work) if self._held.is_held else run_through(work)

    def _do(self, act: Callable[..., T], *args: Any) -> T:
        """Have a plain method of the reconnector's called in the portal; before ``start()``, here."""
        refuse_in_loop()
        return portal.call(_called(act, *args)) if self._held.is_held else act(*args)

    def _start(self, *, require_initial: bool) -> None:
        self._held.take()
        try:
            portal.call(self._inner.start(require_initial=require_initial))
        except BaseException:
            if not self._inner.is_started:
                self._held.drop()
            raise

    def _stop(self) -> None:
        refuse_in_loop()
        try:
            if self._held.is_held:
                portal.call(self._inner.stop())
        finally:
            self._held.drop()

    def __enter__(self) -> Self:
        self._start(require_initial=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def __repr__(self) -> str:
        return f"<tether.sync.{type(self).__name__} {self._inner.name!r} {self._inner.status.value}>"

    # -- calls, on the caller's thread --------------------------------------------------------------------------------

    def _run(self, operation: Callable[[C], T], *, idempotent: bool, timeout: float | None) -> T:
        refuse_in_loop()
        engine = self._engine
        if timeout is None and not idempotent and engine.up:
            return self._run_once(operation)  # nothing in between on the hot path
        deadline = None if timeout is None else time.monotonic() + timeout
        if engine.link.status is Status.FAILED:
            return self._run_down(operation)
        self._wait(deadline)
        return self._repeat(operation, deadline) if idempotent else self._run_once(operation)

    def _run_once(self, operation: Callable[[C], T]) -> T:
        engine = self._engine
        generation = engine.link.generation
        try:
            result = operation(self._inner.client)
        except Exception as error:
            failure = self._settled(error, generation)
            if failure is error:
                raise
            raise failure from error
        if inspect.iscoroutine(result):
            result.close()
            raise UsageError(f"{engine.name}: the operation is async; use it with tether.Reconnector")
        return result

    def _settled(self, error: Exception, generation: int) -> BaseException:
        """Decide what a call that raised ``error`` raises, and tell the reconnector what it has to learn from it."""
        engine = self._engine
        found = calls.finding(engine, error, generation)
        if found is None:
            return error
        loop = engine.loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(calls.report, engine, error, found.report_as)
        return error if found.failure is None else found.failure

    def _run_down(self, operation: Callable[[C], T]) -> T:
        """Refuse; but a user's own client of a connection that was given up may find out that the peer is back."""
        engine = self._engine
        if engine.connector.client is None or engine.link.paused:
            raise engine.not_connected()
        try:
            result = operation(self._inner.client)
        except Exception as error:
            if engine.find_cause(error) is None:
                raise
            raise engine.not_connected() from error
        self._do(engine.feed, sig.CallSucceeded())
        return result

    def _repeat(self, operation: Callable[[C], T], deadline: float | None) -> T:
        """Repeat an idempotent operation until it ends otherwise than by a loss; at most twice on one connection."""
        engine, failed_on = self._engine, -1
        while True:
            try:
                return self._run_once(operation)
            except IndeterminateError:
                if engine.connector.driver_retries or engine.link.generation == failed_on:
                    raise
                failed_on = engine.link.generation
            limit = engine.watch.connect_timeout if deadline is None else _left(deadline)
            portal.call(calls.wait_until_good(engine, limit))

    def _wait(self, deadline: float | None) -> None:
        """Wait for a connection within ``deadline``; without one, refuse at once while it is down.

        Raises:
            NotConnected: down, and not to wait, or given up.
            TimeoutError: not within the deadline.
        """
        engine = self._engine
        if engine.up:
            return
        if deadline is None or engine.loop is None:
            raise engine.not_connected()
        portal.call(self._inner.wait_connected(_left(deadline)))

    def _guard(self) -> BlockingGuard[C]:
        return BlockingGuard(self)

    def _events(self) -> BlockingEvents:
        return BlockingEvents(self._do(self._inner.events))

    # -- callbacks and events -----------------------------------------------------------------------------------------

    def _observe(self, add: Callable[[Callable[..., Any]], Any], callback: F) -> F:
        """Have ``callback`` called on a thread of its own: it may block, and call anything of tether's."""
        add(threaded(callback))
        return callback


class BlockingGuard(Generic[C]):
    """``with reconnector.guard() as client:`` — the body's errors are looked at as ``run()`` looks at a call's."""

    def __init__(self, face: Blocking[C]) -> None:
        self._face = face
        self._generation = 0

    def __enter__(self) -> C:
        refuse_in_loop()
        engine = self._face._engine  # noqa: SLF001 - a part of the face
        if not engine.up:
            raise engine.not_connected()
        self._generation = engine.link.generation
        return self._face._inner.client  # noqa: SLF001

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            failure = self._face._settled(error, self._generation)  # noqa: SLF001
            if failure is not error:
                raise failure from error


class BlockingEvents(Iterator[ReconnectEvent]):
    """``for event in reconnector.events():`` — ends with ``stop()``."""

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream

    @property
    def dropped(self) -> int:
        """Events that a slow reader missed (oldest first)."""
        return self._stream.dropped

    def __next__(self) -> ReconnectEvent:
        work = _next(self._stream)
        event = portal.call(work) if portal.loop is not None else run_through(work)
        if event is None:
            raise StopIteration
        return event

    def close(self) -> None:
        """Stop listening. Idempotent."""
        if portal.loop is not None:
            portal.call(self._stream.aclose())


async def _next(stream: EventStream) -> ReconnectEvent | None:
    return await anext(stream, None)


def threaded(callback: Any) -> Any:
    """Return an async function that calls ``callback`` on a thread; what cannot be called is returned as it is."""
    if not callable(callback):
        return callback

    @functools.wraps(callback)
    async def on_thread(*args: Any) -> None:
        await call_on_thread(callback, *args)

    return on_thread


def run_through(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that has nothing to wait for, here.

    Raises:
        UsageError: it does want to wait, and there is no loop for that; or one is running in this thread.
    """
    try:
        refuse_in_loop()
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    except UsageError:
        raise
    except RuntimeError:  # it asked for the running loop
        pass
    finally:
        work.close()
    raise UsageError("it is not started; call start() first")


async def _called(act: Callable[..., T], *args: Any) -> T:
    return act(*args)


async def call_on_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Call ``function`` on a thread of its own, with the context variables of the caller.

    Not of a pool: one that hangs must not hold up another, nor the end of the process.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()  # what runs there still knows whose callback it is

    def finish(result: Any, error: BaseException | None) -> None:
        if not done.done():
            done.set_result(result) if error is None else done.set_exception(error)

    def work() -> None:
        result, error = None, None
        try:
            result = context.run(function, *args)
        except BaseException as raised:  # noqa: BLE001 - handed over to whoever awaits it
            error = raised
        try:
            loop.call_soon_threadsafe(finish, result, error)
        except RuntimeError:
            pass  # the loop has ended meanwhile: nobody waits any more

    threading.Thread(target=work, name="tether callback", daemon=True).start()
    return await done


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())
