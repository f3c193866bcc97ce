"""Users' calls on a supervised connection: ``run()`` and ``guard()``.

This is the hot path: no task, no lock, no timer unless a deadline was given. A call that is under way when the
connection is lost is ended by cancelling the caller's task, as ``asyncio.timeout`` does, and the cancellation is turned
into ``IndeterminateError`` before it leaves here.
"""

from __future__ import annotations

import asyncio
from asyncio import current_task
from collections.abc import Awaitable, Callable
from types import CoroutineType, TracebackType
from typing import Any, Generic, NamedTuple, TypeVar

from tether.core import signals as sig
from tether.core.cause import Cause, Code
from tether.core.lifecycle import Status
from tether.core.redact import describe
from tether.errors import IndeterminateError, UsageError
from tether.runtime.engine import Engine

C = TypeVar("C")
T = TypeVar("T")

_SAYS_NOTHING_YET = {Code.TIMEOUT, Code.AUTH, Code.OVERLOADED, Code.SERVER_ERROR, Code.CLOSED}
"""Causes of a call's error that do not prove the connection dead: they ask for a probe, and come through unchanged."""


async def run(
    engine: Engine[Any],
    operation: Callable[[Any], Awaitable[T] | T],
    *,
    idempotent: bool = False,
    timeout: float | None = None,
) -> T:
    """Call ``operation(client)``. See ``Reconnector.run``."""
    if timeout is None:
        if engine.up:
            if idempotent:
                return await _repeat(engine, operation, wait=engine.watch.connect_timeout)
            return await run_once(engine, operation)
        return await _run_down(engine, operation)
    try:
        async with asyncio.timeout(timeout):
            if engine.link.status is Status.FAILED:
                return await _run_down(engine, operation)
            await wait_until_up(engine)
            if idempotent:
                return await _repeat(engine, operation, wait=None)
            return await run_once(engine, operation)
    except TimeoutError:
        engine.watcher.probe_now()  # no proof, but a good reason to ask
        raise


def not_a_function(engine: Engine[Any], operation: object) -> UsageError:
    """Return the error for ``run(f())`` instead of ``run(f)``; a coroutine is closed, for nobody will await it."""
    if isinstance(operation, CoroutineType):
        operation.close()
        what = f"the coroutine that calling {operation.__qualname__} has made"
    else:
        what = f"a {type(operation).__name__}"
    text = f"{engine.name}: run() takes a function of the client, not {what}"
    return UsageError(f"{text}; write run(lambda client: client.get('key')), with your call in it")


async def run_once(engine: Engine[Any], operation: Callable[[Any], Awaitable[T] | T]) -> T:
    """Call ``operation(client)`` on a connection that is up: the hot path."""
    task = current_task(engine.loop)  # given the loop, it need not look for it: a third of the whole cost
    calls = engine.calls
    if task is None:
        raise _elsewhere(engine)
    if task in calls:  # inside another run() on the same connection: the outer one answers for it
        return await _plain(operation(engine.client))
    generation = engine.link.generation
    cancelled_before = task.cancelling()
    calls[task] = None
    try:
        result: Any = operation(engine.client)
        if type(result) is CoroutineType or hasattr(result, "__await__"):
            result = await result
    except BaseException as error:
        failure = await _settle(engine, task, generation, cancelled_before, error)
        if failure is error:
            raise
        raise failure from error
    if calls.pop(task, None) is not None:  # the connection was lost, but the operation ended well
        await _absorb(task, cancelled_before)
    done: T = result
    return done


def _elsewhere(engine: Engine[Any]) -> UsageError:
    return UsageError(f"{engine.name} belongs to the event loop that started it; call it from there")


async def _plain(result: Awaitable[T] | T) -> T:
    return await result if isinstance(result, Awaitable) else result


async def _run_down(engine: Engine[Any], operation: Callable[[Any], Awaitable[T] | T]) -> T:
    """Refuse; but a user's own client of a connection that was given up may find out that the peer is back."""
    if engine.link.status is not Status.FAILED or engine.connector.client is None or engine.link.paused:
        raise engine.not_connected()
    try:
        result = await _plain(operation(engine.connector.client))
    except Exception as error:
        if engine.find_cause(error) is None:
            raise
        raise engine.not_connected() from error
    engine.feed(sig.CallSucceeded())
    return result


async def _repeat(
    engine: Engine[Any], operation: Callable[[Any], Awaitable[T] | T], *, wait: float | None
) -> T:
    """Repeat an idempotent operation until it ends otherwise than by a loss; at most twice on one connection.

    ``wait`` is how many seconds the next connection may take; ``None`` leaves that to a deadline around this.
    """
    failed_on = -1
    while True:
        try:
            return await run_once(engine, operation)
        except IndeterminateError:
            # A driver that retries has repeated it already: ours would multiply with its attempts.
            if engine.connector.driver_retries or engine.link.generation == failed_on:
                raise
            failed_on = engine.link.generation
        await wait_until_good(engine, wait)


async def wait_until_good(engine: Engine[Any], limit: float | None) -> None:
    """Wait for a connection that has proved itself after the loss of a call."""
    try:
        async with asyncio.timeout(limit):
            engine.watcher.probe_now()
            await engine.watcher.verdict()  # a pool's call may break alone, and the connection be well
            await wait_until_up(engine)
    except TimeoutError:
        raise engine.not_connected() from None


async def wait_until_up(engine: Engine[Any]) -> None:
    """Return once connected.

    Raises:
        NotConnected: it was given up, is stopped, or ends so while we wait.
    """
    while not engine.up:  # it may be gone again before the one who waited wakes
        if engine.link.status in {Status.FAILED, Status.DISCONNECTED}:
            raise engine.not_connected()
        await engine.connected_for.add()


async def _absorb(task: asyncio.Task[Any], cancelled_before: int) -> None:
    """Take back the cancellation of a call that ended before it could arrive; one of somebody else's comes through."""
    task.uncancel()
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        if task.cancelling() > cancelled_before:
            raise


async def _settle(
    engine: Engine[Any], task: asyncio.Task[Any], generation: int, cancelled_before: int, error: BaseException
) -> BaseException:
    """Decide what a call that raised ``error`` raises, and what the engine learns from it."""
    cut = engine.calls.pop(task, None)
    if cut is not None and isinstance(error, asyncio.CancelledError):
        cancelled_by_others = task.uncancel() > cancelled_before
        return error if cancelled_by_others else _indeterminate(engine, cut, None)
    if cut is not None:
        await _absorb(task, cancelled_before)
    if not isinstance(error, Exception):
        return error
    found = finding(engine, error, generation, cut)
    if found is None:
        return error
    report(engine, error, found.report_as)
    return found.failure or error


class Finding(NamedTuple):
    """What an error of a call says of the connection.

    Attributes:
        report_as: the generation to report it with: with one it tears down, without it asks for a probe.
        failure: what the caller gets in its place, if not the error itself.
    """

    report_as: int | None
    failure: IndeterminateError | None


def finding(
    engine: Engine[Any], error: Exception, generation: int, cut: Cause | None = None
) -> Finding | None:
    """Return what an error of a call that began in ``generation`` says; ``None`` when it is not a loss."""
    cause = engine.find_cause(error)
    if cause is None:
        return None
    proof = not (cause.code in _SAYS_NOTHING_YET and not _has_errno(error))
    lost = cut is not None or engine.link.generation != generation or not engine.up
    failure = _indeterminate(engine, cut or cause, error) if proof or lost else None
    return Finding(generation if proof and engine.connector.client is None else None, failure)


def _has_errno(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno is not None


def _indeterminate(engine: Engine[Any], cause: Cause, error: BaseException | None) -> IndeterminateError:
    text = f"{engine.name} was lost in mid-call ({cause.code.value}: {cause.label()}); it may or may not have been done"
    if error is not None:
        text += f"; {describe(error, engine.connector.secrets)}"
    return IndeterminateError(text, cause)


def report(engine: Engine[Any], error: BaseException, generation: int | None) -> None:
    """Take a detector's word. See ``Reconnector.report``."""
    if generation is None:
        engine.watcher.probe_now()
        return
    cause = engine.find_cause(error)
    if cause is not None and engine.link.status is not Status.DISCONNECTED:
        engine.feed(sig.Lost(generation, cause))


class Guard(Generic[C]):
    """``async with guard as client``: the body's errors are looked at as ``run()`` looks at an operation's."""

    __slots__ = ("_cancelled_before", "_engine", "_generation", "_task")

    def __init__(self, engine: Engine[Any]) -> None:
        self._engine = engine
        self._task: asyncio.Task[Any] | None = None
        self._generation = self._cancelled_before = 0

    async def __aenter__(self) -> C:
        engine = self._engine
        if not engine.up:
            raise engine.not_connected()
        task = current_task(engine.loop)
        if self._task is not None:
            raise UsageError("a guard can be entered once; call guard() for each use")
        if task is None:
            raise _elsewhere(engine)
        if task not in engine.calls:
            engine.calls[task] = None
            self._task = task
            self._cancelled_before = task.cancelling()
        self._generation = engine.link.generation
        client: C = engine.client
        return client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task = self._task
        if task is None:
            return
        if error is None:
            if self._engine.calls.pop(task, None) is not None:
                await _absorb(task, self._cancelled_before)
            return
        failure = await _settle(self._engine, task, self._generation, self._cancelled_before, error)
        if failure is not error:
            raise failure from error
