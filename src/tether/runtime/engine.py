"""The one reconnect loop: feeds signals to the state machine and carries out its effects.

Run to completion: a signal that arrives while another is handled waits in the inbox. An idle connection owns no task
and no timer of the loop, only an entry in the timer wheel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Generic

from tether.core import effects as eff
from tether.core import signals as sig
from tether.core.backoff import Rand
from tether.core.cause import Cause, Code, Phase, Rule, find_cause
from tether.core.events import Kind, ReconnectEvent
from tether.core.lifecycle import Status
from tether.core.link import Fact, Link
from tether.core.machine import step
from tether.core.redact import describe
from tether.core.schedule import Plan
from tether.errors import NotConnected, UsageError
from tether.ports import Connector, H
from tether.runtime import host_watch
from tether.runtime.attempt import Credentials, Dialing
from tether.runtime.bounded import Bounded
from tether.runtime.options import Watch
from tether.runtime.restoring import Restoring
from tether.runtime.waiters import Waiters
from tether.runtime.watcher import Watcher

CLOSE_TIMEOUT = 0.2
"""Seconds for a polite goodbye on ``stop()``; then the connection is dropped."""

UNWIND_TIMEOUT = 0.3
"""Seconds that ``stop()`` gives cancelled work to unwind."""

_OF_THE_LOOP = ("loop", "handle", "client", "watcher", "_dialing", "_timer", "_restoring", "_closing")
"""What an engine has that belongs to the loop in which it was started."""

_ENDS_ATTEMPT = {
    Kind.CONNECTED: True,
    Kind.RECONNECTED: True,
    Kind.ATTEMPT_FAILED: False,
    Kind.STOPPED: False,
}


class Engine(Generic[H]):
    """Runs one connection, on the thread of one event loop. Nothing here waits but ``unwind``.

    Args:
        name: the connection's name.
        connector: its technology.
        plan: how to try again.
        watch: how to watch it.
        rules: how to classify errors, in the order to ask them.
        credentials: whom to ask for a new credential.
        publish: told every event.
        rand: the source of jitter.

    Attributes:
        link: what the machine knows.
        up: whether the connection is live; ``handle`` and ``client`` are set exactly then.
        attempt_ended_for: those who wait for the end of an attempt: whether it connected.
        connected_for: those who wait for a connection.
        calls: tasks with a call under way, and why it was cut, if it was.
        is_inherited: whether it was started in the process that this one was forked from.
    """

    __slots__ = (
        "__weakref__",
        "_closing",
        "_credentials",
        "_dialing",
        "_handle_generation",
        "_inbox",
        "_leftovers",
        "_publish",
        "_restoring",
        "_rules",
        "_timer",
        "_up_since",
        "attempt_ended_for",
        "calls",
        "client",
        "connected_for",
        "connector",
        "handle",
        "is_inherited",
        "last_error",
        "link",
        "loop",
        "name",
        "plan",
        "rand",
        "up",
        "uptime",
        "watch",
        "watcher",
    )

    def __init__(
        self,
        name: str,
        connector: Connector[H],
        *,
        plan: Plan,
        watch: Watch,
        rules: tuple[Rule, ...],
        credentials: Credentials | None,
        publish: Callable[[ReconnectEvent], None],
        rand: Rand,
    ) -> None:
        self.name, self.connector, self.plan, self.watch, self.rand = name, connector, plan, watch, rand
        self._rules, self._credentials, self._publish = rules, credentials, publish
        self.link = Link()
        self.last_error: BaseException | None = None
        self.uptime = 0.0
        self.is_inherited = False
        self.calls: dict[asyncio.Task[Any], Cause | None] = {}
        self.attempt_ended_for: Waiters[bool] = Waiters()
        self.connected_for: Waiters[None] = Waiters()
        self._inbox: list[sig.Signal] = []
        self._leftovers: list[asyncio.Task[Any]] = []
        self.forget()

    def forget(self) -> None:
        """Start from nothing: before the first loop, and after a loop that ended without ``stop()``."""
        self.loop: asyncio.AbstractEventLoop | None = None
        self.up = False
        self.handle: H | None = None
        self._handle_generation = 0
        self._up_since = 0.0
        self.client: Any = None
        self.watcher: Watcher[H] = Watcher(self)
        self._dialing: Dialing[H] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._restoring: Restoring[H] | None = None
        self._closing: Bounded[None] | None = None
        for kept in (self.calls, self._inbox, self.attempt_ended_for, self.connected_for, self._leftovers):
            kept.clear()

    # -- signals ------------------------------------------------------------------------------------------------------

    def feed(self, signal: sig.Signal) -> None:
        """Hand a signal to the machine, and carry out what follows.

        Raises:
            IllegalTransition: the signal makes no sense now (only when it is not one of the engine's own).
        """
        self._inbox.append(signal)
        if len(self._inbox) > 1:
            return
        try:
            while self._inbox:
                self._advance(self._inbox[0])
                self._inbox.pop(0)
        except BaseException:
            self._inbox.clear()
            raise

    def _advance(self, signal: sig.Signal) -> None:
        outcome = step(self.link, signal, self.now(), self.plan, self.rand)
        self.link = outcome.link
        for effect in outcome.effects:
            self._perform(effect)
        for fact in outcome.facts:
            self._tell_fact(fact)

    def now(self) -> float:
        """Monotonic seconds of the connection's loop."""
        return 0.0 if self.loop is None else self.loop.time()

    # -- effects ------------------------------------------------------------------------------------------------------

    def _perform(self, effect: eff.Effect) -> None:
        match effect:
            case eff.Dial():
                self._dialing = Dialing(self, effect.generation)
                self._dialing.begin(self._credentials, ask=effect.ask_credential)
            case eff.CancelDial():
                self._cancel_dial()
                self.attempt_ended_for.resolve(False)
            case eff.Adopt():
                self._adopt()
            case eff.Abandon():
                self._abandon(effect.generation)
            case eff.Release():
                self._release()
            case eff.Schedule():
                assert self.loop is not None
                self._timer = self.loop.call_later(effect.delay, self.feed, sig.Elapsed(effect.generation))
            case eff.Unschedule():
                self._unschedule()
            case eff.Probe():
                self.watcher.probe_now()
            case eff.StopProbing():
                self.watcher.end()

    def _unschedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cancel_dial(self) -> None:
        dialing, self._dialing = self._dialing, None
        if dialing is not None:
            dialing.cancel()
            self.keep(dialing.task)

    def attempt_ended(self, generation: int, error: BaseException | None) -> None:
        """Take the outcome of a dial; one that is over already is nobody's any more."""
        dialing = self._dialing
        if dialing is None or dialing.generation != generation:
            return
        self.keep(dialing.task)
        if error is None:
            self.feed(sig.Succeeded(generation, dialing.end_course()))
            self.feed(sig.Restored(generation, len(dialing.unrestored)))
        else:
            self._dialing = None
            self._attempt_failed(dialing, error)

    def connection_lost(self, generation: int, error: BaseException) -> None:
        """Take a driver's word that a connection of ours has died: an attempt's, the live one, or an old one."""
        dialing = self._dialing
        if dialing is not None and dialing.generation == generation:
            self._cancel_dial()
            self._attempt_failed(dialing, error)
        elif self.link.status is not Status.DISCONNECTED:
            self.feed(sig.Lost(generation, self.cause_of(error, Phase.READY)))

    def _attempt_failed(self, dialing: Dialing[H], error: BaseException) -> None:
        cause = self.cause_of(error, dialing.phase)
        self.feed(sig.Failed(dialing.generation, cause, dialing.end_course()))

    def _adopt(self) -> None:
        dialing, self._dialing = self._dialing, None
        assert dialing is not None
        assert dialing.handle is not None
        self.handle, self._handle_generation = dialing.handle, dialing.generation
        self.client = self.handle if self.connector.client is None else self.connector.client
        self.up, self._up_since = True, self.now()
        self.watcher.begin()
        if dialing.unrestored:
            self._restoring = Restoring(self)

    def _abandon(self, generation: int) -> None:
        # The link may be a dial ahead already: what counts is the generation of the connection itself.
        if generation == self._handle_generation and self.handle is not None:
            handle = self._take_down()
            self.abort(handle)

    def _release(self) -> None:
        if self.handle is not None:
            handle = self._take_down()
            done = partial(self._closed, handle)
            self._closing = Bounded(
                self.connector.close(handle), CLOSE_TIMEOUT, done, lambda _: None, lambda _: None
            )

    def _closed(self, handle: H, _: None, error: BaseException | None) -> None:
        if error is not None:
            self.abort(handle)

    def _take_down(self) -> H:
        """End all that goes on on the live connection, and return its handle."""
        handle = self.handle
        assert handle is not None
        self.uptime += self.now() - self._up_since
        self.up = False
        self.handle = self.client = None
        self.watcher.end()
        if self._restoring is not None:
            self._restoring.cancel()
            self._restoring = None
        self._cut_calls()
        return handle

    def abort(self, handle: H) -> None:
        """Drop a connection; what its driver raises while dying concerns nobody."""
        try:
            self.connector.abort(handle)
        except Exception as error:  # noqa: BLE001 - a dead handle may raise anything
            self.watch.logger.debug("dropping a dead connection of %s: %s", self.name, describe(error))

    def _cut_calls(self) -> None:
        """End the calls that are under way on a lost connection, unless their driver repeats them by itself."""
        if self.connector.driver_retries:
            return
        cause = self.link.cause or Cause(Code.CLOSED)
        # Whoever stops or replaces the connection inside of a call on it is to come back from that.
        spared = asyncio.current_task() if cause.code is Code.CLOSED else None
        for task, known in tuple(self.calls.items()):
            if known is None and task is not spared:
                self.calls[task] = cause
                task.cancel()

    def stalled(self, late: float) -> None:
        """Report that our own loop was late, and that a verdict was held back for it."""
        self.tell(Kind.STALLED, elapsed=late)

    # -- what happens to the host -------------------------------------------------------------------------------------

    def network_changed(self) -> None:
        """There is a new way out: probe at once, or dial at once instead of sleeping on."""
        self.feed(sig.NetworkChanged())

    def uplink_lost(self) -> None:
        """A way out is gone: find out whether it was ours. Dialing would be of no use."""
        self.watcher.probe_now()

    def host_resumed(self, gap: float) -> None:
        """The host has slept for ``gap`` seconds: the peer may have given us up, and a sleep of ours is long over."""
        self.tell(Kind.HOST_RESUMED, elapsed=gap)
        self.feed(sig.NetworkChanged())

    # -- causes and events --------------------------------------------------------------------------------------------

    def find_cause(self, error: BaseException, phase: Phase = Phase.READY) -> Cause | None:
        """Return the cause of ``error``, or ``None`` when it is not a loss."""
        return find_cause(error, phase, self._rules)

    def cause_of(self, error: BaseException, phase: Phase) -> Cause:
        """Return the cause of what ended an attempt, a probe or a connection: always one."""
        return self.find_cause(error, phase) or Cause(Code.UNKNOWN, phase, error)

    def _tell_fact(self, fact: Fact) -> None:
        if fact.cause is not None and fact.cause.error is not None and fact.kind is not Kind.EVIDENCE:
            self.last_error = fact.cause.error
        self._publish(self._event(fact))
        if fact.kind in _ENDS_ATTEMPT:
            self.attempt_ended_for.resolve(_ENDS_ATTEMPT[fact.kind])
        if fact.kind is Kind.STARTED:
            host_watch.join(self.loop, self)
        elif fact.kind is Kind.STOPPED:
            host_watch.leave(self.loop, self)
        if fact.kind in {Kind.CONNECTED, Kind.RECONNECTED}:
            self.connected_for.resolve(None)
        elif fact.kind in {Kind.GAVE_UP, Kind.STOPPED}:
            self.connected_for.refuse(self.not_connected)

    def tell(
        self, kind: Kind, cause: Cause | None = None, elapsed: float | None = None, **detail: Any
    ) -> None:
        """Publish an event that is none of the machine's."""
        link = self.link
        fact = Fact(kind, link.status, link.generation, link.retry_count, cause, None, elapsed, detail)
        self._publish(self._event(fact))

    def _event(self, fact: Fact) -> ReconnectEvent:
        error = fact.cause.error if fact.cause is not None else None
        return ReconnectEvent(
            kind=fact.kind,
            connection=self.name,
            type=self.connector.kind,
            status=fact.status,
            timestamp=datetime.now(UTC),
            generation=fact.generation,
            retry_count=fact.retry_count,
            cause=fact.cause,
            error=error,
            message=describe(error, self.connector.secrets),
            endpoint=self.connector.endpoint,
            delay=fact.delay,
            elapsed=fact.elapsed,
            **({"detail": fact.detail} if fact.detail else {}),
        )

    def not_connected(self) -> NotConnected | UsageError:
        """Return the error for a call that will not wait: what is wrong, and what happens next."""
        if self.is_inherited:
            return self.not_started_here()
        link = self.link
        text = f"{self.name} is {'paused' if link.paused else link.status.value}"
        if link.cause is not None:
            text += f" ({link.cause.code.value}: {link.cause.label()})"
        if link.due_at is not None:
            text += f"; next attempt in {max(0.0, link.due_at - self.now()):.1f} s"
        elif link.status is Status.DISCONNECTED:
            text += "; call start()"
        elif link.status is Status.FAILED:
            text += "; call reconnect() to try again"
        error = NotConnected(text)
        error.__cause__ = link.cause.error if link.cause is not None else None
        return error

    def not_started_here(self) -> UsageError:
        """Return the error for what is not started, or was not started by this process."""
        if self.is_inherited:
            return UsageError(f"{self.name} was started in another process; call start() here")
        return UsageError(f"{self.name} is not started; call start() first")

    # -- the end ------------------------------------------------------------------------------------------------------

    def keep(self, task: asyncio.Task[Any] | None) -> None:
        """Remember a task that may still be unwinding, so that ``unwind`` can wait for it."""
        if task is not None and not task.done():
            self._leftovers.append(task)
            task.add_done_callback(self._unwound)

    def _unwound(self, task: asyncio.Task[Any]) -> None:
        if task in self._leftovers:
            self._leftovers.remove(task)

    def abandon_dead_loop(self) -> None:
        """Drop what belongs to a loop that ended without ``stop()``: nothing there can be waited for any more."""
        if self.handle is not None:
            self.abort(self.handle)
        host_watch.leave(self.loop, self)
        self.link = step(self.link, sig.Stop(), self.now(), self.plan, self.rand).link
        self.forget()

    def leave_to_parent(self) -> object:
        """In a forked child: forget what belongs to the parent's loop. See ``tether.runtime.fork.Forked``."""
        left: list[object] = [getattr(self, name) for name in _OF_THE_LOOP]
        left += [dict(self.calls), list(self._inbox), list(self._leftovers)]
        left += [self.attempt_ended_for.abandon(), self.connected_for.abandon()]
        self.is_inherited = self.is_inherited or self.link.status is not Status.DISCONNECTED
        self.link = step(self.link, sig.Stop(), self.now(), self.plan, self.rand).link
        self.forget()
        return left

    def credential_changed(self) -> None:
        """Someone says that there is a new credential: ask for it, and try a refused login again."""
        if self._credentials is not None:
            self._credentials.is_stale = True
        self.feed(sig.CredentialChanged())

    async def unwind(self) -> None:
        """Wait, a short while, for all that was cancelled and for the goodbye."""
        closing = self._closing
        if closing is not None:
            await asyncio.wait({closing.task}, timeout=CLOSE_TIMEOUT + 0.05)
            self.keep(closing.task)
            self._closing = None if self._closing is closing else self._closing
        tasks = set(self._leftovers) - {asyncio.current_task()}
        if tasks:
            await asyncio.wait(tasks, timeout=UNWIND_TIMEOUT)
        for task in tasks:
            if not task.done():
                self.watch.logger.warning(
                    "%s: a cancelled task of its driver does not end: %s", self.name, task
                )
