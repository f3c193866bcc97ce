"""The contract of a connector, as a check that any adapter can be put to."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from tether.core.cause import Phase, find_cause
from tether.ports import Connector
from tether.runtime.classify import all_rules

MOST_STEPS = 200
"""Points at which ``open`` is cancelled at most; a handshake has far fewer awaits."""

Action = Callable[[], Awaitable[None] | None]


class RecordingAttempt:
    """An ``Attempt`` for tests: remembers what it was told.

    Attributes:
        phases: every phase that was set, in order.
        losses: every error that ``lost`` was told.
    """

    def __init__(self, generation: int = 1, *, credential: Any = None, is_reconnect: bool = False) -> None:
        self.generation = generation
        self.is_reconnect = is_reconnect
        self.credential = credential
        self.phases: list[Phase] = []
        self.losses: list[BaseException] = []

    @property
    def phase(self) -> Phase:
        """The latest phase."""
        return self.phases[-1] if self.phases else Phase.TCP

    @phase.setter
    def phase(self, value: Phase) -> None:
        self.phases.append(value)

    def lost(self, error: BaseException) -> None:
        """Remember the loss."""
        self.losses.append(error)


async def check_connector(
    make: Callable[[], Connector[Any]],
    *,
    cut: Action | None = None,
    mend: Action | None = None,
    timeout: float = 5.0,
) -> None:
    """Put a connector through its contract.

    Args:
        make: returns a fresh connector to a peer that is up.
        cut: takes the peer away (kills the server); sync or async. Without it, what a loss looks like is not checked.
        mend: brings the peer back.
        timeout: seconds that any single step may take.

    Raises:
        AssertionError: it breaks the contract; the message says which rule.
    """
    check = _Check(make, timeout)
    check.describes_itself()
    await check.opens_probes_and_closes()
    await check.aborts_at_once_and_for_good()
    await check.connections_are_independent()
    await check.cancelled_open_leaves_nothing()
    await check.restore_is_idempotent()
    await check.cancelled_probe_does_not_poison()
    if cut is not None:
        await check.notices_and_names_a_loss(cut)
        if mend is not None:
            await _do(mend)
            await check.opens_probes_and_closes()


async def _do(action: Action) -> None:
    result = action()
    if inspect.isawaitable(result):
        await result


class _Check:
    def __init__(self, make: Callable[[], Connector[Any]], timeout: float) -> None:
        self._make, self._timeout = make, timeout

    async def _in_time(self, awaitable: Awaitable[Any], rule: str) -> Any:
        try:
            async with asyncio.timeout(self._timeout):
                return await awaitable
        except TimeoutError:
            raise AssertionError(f"{rule}: not within {self._timeout:g} s") from None

    async def _open(self, connector: Connector[Any], attempt: RecordingAttempt | None = None) -> Any:
        handle = await self._in_time(connector.open(attempt or RecordingAttempt()), "open must end")
        assert handle is not None, "open must return the open connection"
        return handle

    def describes_itself(self) -> None:
        connector = self._make()
        assert connector.kind, "kind must name the technology"
        assert connector.endpoint, "endpoint must say where to"
        for secret in connector.secrets:
            assert secret not in connector.endpoint, "endpoint must not hold a secret"

    async def opens_probes_and_closes(self) -> None:
        connector, attempt = self._make(), RecordingAttempt()
        before = asyncio.all_tasks()
        handle = await self._open(connector, attempt)
        await self._in_time(connector.restore(handle), "restore must end")
        await self._in_time(connector.probe(handle), "probe must end")
        assert not attempt.losses, f"a healthy connection reported its loss: {attempt.losses[0]!r}"
        await self._in_time(connector.close(handle), "close must end")
        await self._probe_must_fail(connector, handle, "after close")
        assert not attempt.losses, "closing is no loss: close must not call attempt.lost"
        await self._no_task_left(before, "after close")

    async def aborts_at_once_and_for_good(self) -> None:
        connector, attempt = self._make(), RecordingAttempt()
        before = asyncio.all_tasks()
        handle = await self._open(connector, attempt)
        assert connector.abort(handle) is None, "abort must not be async"  # type: ignore[func-returns-value]
        connector.abort(handle)  # twice is legal
        await self._probe_must_fail(connector, handle, "after abort")
        assert not attempt.losses, "aborting is no loss: abort must not call attempt.lost"
        await self._no_task_left(before, "after abort")

    async def connections_are_independent(self) -> None:
        connector = self._make()
        old = await self._open(connector, RecordingAttempt(1))
        new = await self._open(connector, RecordingAttempt(2, is_reconnect=True))
        connector.abort(old)
        await self._in_time(
            connector.probe(new), "aborting an old connection must leave the new one alone: probe"
        )
        connector.abort(new)

    async def cancelled_open_leaves_nothing(self) -> None:
        connector = self._make()
        for step in range(MOST_STEPS):
            before = asyncio.all_tasks()
            task = asyncio.ensure_future(connector.open(RecordingAttempt()))
            for _ in range(step):
                await asyncio.sleep(0)
            finished = task.done()
            task.cancel()
            await asyncio.wait({task}, timeout=self._timeout)
            assert task.done(), "a cancelled open must end"
            if not task.cancelled() and task.exception() is None:
                connector.abort(task.result())
            await self._no_task_left(before, "after a cancelled open")
            if finished:
                return

    async def restore_is_idempotent(self) -> None:
        connector = self._make()
        handle = await self._open(connector)
        first = await self._in_time(connector.restore(handle), "restore must end")
        second = await self._in_time(connector.restore(handle), "a second restore must end")
        assert sorted(first or ()) == sorted(second or ()), "restore must be idempotent"
        connector.abort(handle)

    async def cancelled_probe_does_not_poison(self) -> None:
        connector = self._make()
        handle = await self._open(connector)
        task = asyncio.ensure_future(connector.probe(handle))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task}, timeout=self._timeout)
        assert task.done(), "a cancelled probe must end"
        error = await self._error_of(connector.probe(handle), "a probe after a cancelled one must end")
        if error is not None:  # it may refuse; it must not hang or mix up answers
            self._must_be_named(connector, error, Phase.READY)
        connector.abort(handle)

    async def notices_and_names_a_loss(self, cut: Action) -> None:
        connector, attempt = self._make(), RecordingAttempt()
        handle = await self._open(connector, attempt)
        await _do(cut)
        await self._probe_must_fail(connector, handle, "after the peer is gone")
        connector.abort(handle)
        for error in attempt.losses:
            self._must_be_named(connector, error, Phase.READY)
        late = RecordingAttempt(2, is_reconnect=True)
        refusal = await self._error_of(connector.open(late), "open must end when the peer is gone")
        assert refusal is not None, "open must raise when the peer is gone"
        self._must_be_named(connector, refusal, late.phase)

    async def _probe_must_fail(self, connector: Connector[Any], handle: Any, when: str) -> None:
        error = await self._error_of(connector.probe(handle), f"probe must end {when}")
        assert error is not None, f"probe must raise {when}"

    async def _error_of(self, awaitable: Awaitable[Any], rule: str) -> BaseException | None:
        """Return what it raises, whatever that is; a hang breaks ``rule``."""
        task = asyncio.ensure_future(awaitable)
        await self._in_time(asyncio.wait({task}), rule)
        if task.cancelled():
            return asyncio.CancelledError()
        return task.exception()

    def _must_be_named(self, connector: Connector[Any], error: BaseException, phase: Phase) -> None:
        cause = find_cause(error, phase, self._rules(connector))
        assert cause is not None, f"the rules must name the cause of {error!r} (phase {phase.value})"

    @staticmethod
    def _rules(connector: Connector[Any]) -> Any:
        return all_rules((), connector.rules, connector.driver_modules)

    async def _no_task_left(self, before: set[asyncio.Task[Any]], when: str) -> None:
        for _ in range(20):
            left = asyncio.all_tasks() - before
            if not left:
                return
            await asyncio.sleep(0.01)
        names = ", ".join(task.get_name() for task in left)
        raise AssertionError(f"a task is left {when}: {names}")
