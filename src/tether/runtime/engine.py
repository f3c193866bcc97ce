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
from tether.core.health import Health
from tether.core.lifecycle import Status
from tether.core.machine import Fact, Link, step
from tether.core.redact import describe
from tether.core.schedule import Plan
from tether.errors import NotConnected, NoVerdict
from tether.ports import Connector, H
from tether.runtime.attempt import Credentials, Dialing
from tether.runtime.bounded import Bounded
from tether.runtime.options import Watch
from tether.runtime.wheel import Timer, wheel_of

CLOSE_TIMEOUT = 0.2
"""Seconds for a polite goodbye on ``stop()``; then the connection is dropped."""

UNWIND_TIMEOUT = 0.3
"""Seconds that ``stop()`` gives cancelled work to unwind."""

_ENDS_ATTEMPT = {
    Kind.CONNECTED: True,
    Kind.RECONNECTED: True,
    Kind.ATTEMPT_FAILED: False,
    Kind.STOPPED: False,
}


class Engine(Generic[H]):
    """Runs one connection, on the thread of one event loop. Nothing here waits but ``unwind`` and ``verdict``.

    Args:
        name: the connection's name.
        connector: its technology.
        plan: how to try again.
        watch: how to watch it.
        rules: how to classify errors, in the order to ask them.
        credentials: whom to ask for a new credential.
        publish: told every event.
        rand: the source of jitter.
    """

    __slots__ = (
        "_attempt_waiters",
        "_closing",
        "_connect_waiters",
        "_credentials",
        "_dialing",
        "_handle_generation",
        "_health",
        "_inbox",
        "_leftovers",
        "_probe",
        "_probe_timer",
        "_publish",
        "_rand",
        "_restore_level",
        "_restoring",
        "_rules",
        "_timer",
        "calls",
        "client",
        "connector",
        "counts",
        "handle",
        "last_error",
        "link",
        "loop",
        "name",
        "plan",
        "up",
        "uptime",
        "watch",
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
        self.name, self.connector, self.plan, self.watch = name, connector, plan, watch
        self._rules, self._credentials, self._publish, self._rand = rules, credentials, publish, rand
        self.link = Link()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.last_error: BaseException | None = None
        self.counts: dict[Kind, int] = {}
        self.uptime = 0.0
        self.calls: dict[asyncio.Task[Any], Cause | None] = {}
        self._inbox: list[sig.Signal] = []
        self._attempt_waiters: list[asyncio.Future[bool]] = []
        self._connect_waiters: list[asyncio.Future[None]] = []
        self._leftovers: set[asyncio.Task[Any]] = set()
        self.forget()

    def forget(self) -> None:
        """Start from nothing: before the first loop, and after a loop that ended without ``stop()``."""
        self.up = False
        self.handle: H | None = None
        self._handle_generation = 0
        self.client: Any = None
        self._dialing: Dialing[H] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._probe: Bounded[None] | None = None
        self._probe_timer: Timer | None = None
        self._restoring: Bounded[Any] | asyncio.TimerHandle | None = None
        self._restore_level = 0
        self._closing: Bounded[None] | None = None
        self._health = Health(self.watch.failure_threshold)
        for waiters in (
            self.calls,
            self._inbox,
            self._attempt_waiters,
            self._connect_waiters,
            self._leftovers,
        ):
            waiters.clear()

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
        outcome = step(self.link, signal, self.now(), self.plan, self._rand)
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
                self._dial(effect)
            case eff.CancelDial():
                self._cancel_dial()
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
                self.probe_now()
            case eff.StopProbing():
                self._stop_probing()

    def _unschedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _dial(self, effect: eff.Dial) -> None:
        dialing = Dialing(self, effect.generation, is_reconnect=self.link.was_connected)
        self._dialing = dialing
        dialing.begin(self._credentials, ask=effect.ask_credential, timeout=self.watch.connect_timeout)

    def _cancel_dial(self) -> None:
        if self._dialing is not None:
            self._keep(self._dialing.cancel())
            self._dialing = None
        self._resolve_attempts(connected=False)

    def attempt_ended(self, dialing: Dialing[H], error: BaseException | None) -> None:
        """Take the outcome of a dial; one that is over already is nobody's any more."""
        if dialing is not self._dialing:
            return
        self._keep(dialing.task)
        if error is not None:
            self._dialing = None
            self.feed(sig.Failed(dialing.generation, self.cause_of(error, dialing.phase)))
            return
        self.feed(sig.Succeeded(dialing.generation))
        self.feed(sig.Restored(dialing.generation, len(dialing.unrestored)))

    def connection_lost(self, dialing: Dialing[H], error: BaseException) -> None:
        """A driver says that a connection of ours has died: an attempt's, or the live one."""
        if dialing is self._dialing:
            self._cancel_dial_only()
            self.feed(sig.Failed(dialing.generation, self.cause_of(error, dialing.phase)))
        elif self.link.status is not Status.DISCONNECTED:
            self.feed(sig.Lost(dialing.generation, self.cause_of(error, Phase.READY)))

    def _cancel_dial_only(self) -> None:
        if self._dialing is not None:
            self._keep(self._dialing.cancel())
            self._dialing = None

    def _adopt(self) -> None:
        dialing, self._dialing = self._dialing, None
        assert dialing is not None
        assert dialing.handle is not None
        self.handle, self._handle_generation = dialing.handle, dialing.generation
        self.client = self.handle if self.connector.client is None else self.connector.client
        self.up = True
        self._health = Health(self.watch.failure_threshold)
        self._restore_level = 0
        if dialing.unrestored:
            self._restore_later()
        # A random phase: ten thousand connections made in one second must not be probed in one second for ever.
        self._probe_later(self._rand() * self.watch.interval)

    def _abandon(self, generation: int) -> None:
        # The link may be a dial ahead already: what counts is the generation of the connection itself.
        if generation != self._handle_generation or self.handle is None:
            return
        self._take_down()
        self.cut_calls()
        self.abort(self.handle)
        self.handle = self.client = None

    def _release(self) -> None:
        handle, self.handle = self.handle, None
        self._take_down()
        self.cut_calls()
        self.client = None
        if handle is not None:
            self._closing = Bounded(
                self.connector.close(handle),
                CLOSE_TIMEOUT,
                partial(self._closed, handle),
                lambda _: None,
                lambda _: None,
            )

    def _closed(self, handle: H, _: None, error: BaseException | None) -> None:
        if error is not None:
            self.abort(handle)

    def _take_down(self) -> None:
        self.uptime += self.now() - self.link.since if self.up else 0.0
        self.up = False
        self._stop_probing()
        if isinstance(self._restoring, Bounded):
            self._keep(self._restoring.task)
        if self._restoring is not None:
            self._restoring.cancel()
            self._restoring = None

    def abort(self, handle: H) -> None:
        """Drop a connection; what its driver raises while dying concerns nobody."""
        try:
            self.connector.abort(handle)
        except Exception as error:  # noqa: BLE001 - a dead handle may raise anything
            self.watch.logger.debug("dropping a dead connection of %s: %s", self.name, describe(error))

    def cut_calls(self) -> None:
        """End the calls that are under way on a lost connection, unless their driver repeats them by itself."""
        if self.connector.driver_retries:
            return
        cause = self.link.cause or Cause(Code.CLOSED)
        for task, known in tuple(self.calls.items()):
            if known is None:
                self.calls[task] = cause
                task.cancel()

    # -- watching -----------------------------------------------------------------------------------------------------

    def probe_now(self) -> None:
        """Probe the live connection, unless a probe is under way."""
        if not self.up or self._probe is not None or self.handle is None or self.link.paused:
            return
        if self._probe_timer is not None:
            self._probe_timer.cancel()
        done = partial(self._probed, self.link.generation, self.now())
        self._probe = Bounded(
            self.connector.probe(self.handle), self.watch.timeout, done, lambda _: None, self.stalled
        )

    def _probed(self, generation: int, started: float, _: None, error: BaseException | None) -> None:
        probe, self._probe = self._probe, None
        if generation != self.link.generation or not self.up:
            return
        if error is not None and not isinstance(error, NoVerdict):
            self._keep(probe.task if probe is not None else None)
            cause = self.cause_of(error, Phase.READY)
            self._health = self._health.updated(ok=False)
            self.tell(Kind.PROBE_FAILED, cause)
            if self._health.is_lost:
                self.feed(sig.Lost(generation, cause))
                return
        elif error is None:
            self._health = self._health.updated(ok=True)
        self._probe_later(max(0.0, started + self.watch.interval - self.now()))

    async def verdict(self) -> None:
        """Wait for the probe under way, if there is one; bounded by the probe's own deadline."""
        if self._probe is not None:
            await asyncio.wait({self._probe.task}, timeout=self.watch.timeout)

    def _probe_later(self, delay: float) -> None:
        if self.watch.health_check and not self.link.paused and self.loop is not None:
            self._probe_timer = wheel_of(self.loop).call_later(delay, self.probe_now)

    def _stop_probing(self) -> None:
        if self._probe_timer is not None:
            self._probe_timer.cancel()
            self._probe_timer = None
        if self._probe is not None:
            self._probe.cancel()
            self._keep(self._probe.task)
            self._probe = None

    def stalled(self, late: float) -> None:
        """Report that our own loop was late, and that a verdict was held back for it."""
        self.tell(Kind.STALLED, elapsed=late)

    # -- what could not be restored -----------------------------------------------------------------------------------

    def _restore_later(self) -> None:
        assert self.loop is not None
        delay = max(0.01, self.plan.interval(self._restore_level))
        self._restore_level += 1
        self._restoring = self.loop.call_later(delay, self._restore_again)

    def _restore_again(self) -> None:
        assert self.handle is not None
        done = partial(self._restored, self.link.generation)
        self._restoring = Bounded(
            self.connector.restore(self.handle),
            self.watch.connect_timeout,
            done,
            lambda _: None,
            self.stalled,
        )

    def _restored(self, generation: int, missing: Any, error: BaseException | None) -> None:
        self._restoring = None
        if generation != self.link.generation or not self.up:
            return
        if error is not None and (cause := self.find_cause(error, Phase.RESTORE)) is not None:
            self.feed(sig.Lost(generation, cause))
        elif error is not None or missing:
            self._restore_later()
        else:
            self.feed(sig.Restored(generation, 0))

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
            self._resolve_attempts(connected=_ENDS_ATTEMPT[fact.kind])
        if fact.kind in {Kind.CONNECTED, Kind.RECONNECTED}:
            _resolve(self._connect_waiters, None)
        elif fact.kind in {Kind.GAVE_UP, Kind.STOPPED}:
            self._refuse_waiters()

    def tell(
        self, kind: Kind, cause: Cause | None = None, elapsed: float | None = None, **detail: Any
    ) -> None:
        """Publish an event that is none of the machine's."""
        link = self.link
        fact = Fact(kind, link.status, link.generation, link.retry_count, cause, None, elapsed)
        self._publish(self._event(fact, detail))

    def _event(self, fact: Fact, detail: dict[str, Any] | None = None) -> ReconnectEvent:
        self.counts[fact.kind] = self.counts.get(fact.kind, 0) + 1
        error = fact.cause.error if fact.cause is not None else None
        return ReconnectEvent(
            kind=fact.kind,
            connection=self.name,
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
            **({"detail": detail} if detail else {}),
        )

    # -- waiting for it -----------------------------------------------------------------------------------------------

    def attempt_end(self) -> asyncio.Future[bool]:
        """Return a future of your own: whether the attempt under way (or next) connected."""
        return self._waiter(self._attempt_waiters)

    def connected(self) -> asyncio.Future[None]:
        """Return a future of your own that is done once connected; ``NotConnected`` once failed or stopped."""
        return self._waiter(self._connect_waiters)

    def _waiter(self, waiters: list[asyncio.Future[Any]]) -> asyncio.Future[Any]:
        assert self.loop is not None
        future: asyncio.Future[Any] = self.loop.create_future()
        waiters.append(future)
        future.add_done_callback(lambda done: waiters.remove(done) if done in waiters else None)
        return future

    def _resolve_attempts(self, *, connected: bool) -> None:
        _resolve(self._attempt_waiters, connected)

    def _refuse_waiters(self) -> None:
        waiters, self._connect_waiters[:] = tuple(self._connect_waiters), []
        for future in waiters:
            if not future.done():
                future.set_exception(self.not_connected())

    def not_connected(self) -> NotConnected:
        """Return the error for a call that will not wait: what is wrong, since when, what happens next."""
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

    # -- the end ------------------------------------------------------------------------------------------------------

    def _keep(self, task: asyncio.Task[Any] | None) -> None:
        """Remember a task that may still be unwinding, so that ``stop()`` can wait for it."""
        if task is not None and not task.done():
            self._leftovers.add(task)
            task.add_done_callback(self._leftovers.discard)

    def abandon_dead_loop(self) -> None:
        """Drop what belongs to a loop that ended without ``stop()``: nothing there can be waited for any more."""
        if self.handle is not None:
            self.abort(self.handle)
        self.loop = None
        self.forget()
        self.link = step(self.link, sig.Stop(), self.now(), self.plan, self._rand).link

    async def unwind(self) -> None:
        """Wait, a short while, for all that was cancelled and for the goodbye."""
        if self._closing is not None:
            await asyncio.wait({self._closing.task}, timeout=CLOSE_TIMEOUT + 0.05)
            self._keep(self._closing.task)
            self._closing = None
        tasks = self._leftovers - {asyncio.current_task()}
        if tasks:
            await asyncio.wait(tasks, timeout=UNWIND_TIMEOUT)
        for task in self._leftovers - {asyncio.current_task()}:
            self.watch.logger.warning(
                "%s: a cancelled task of its driver does not end: %r", self.name, task.get_name()
            )


def _resolve(waiters: list[asyncio.Future[Any]], result: Any) -> None:
    pending, waiters[:] = tuple(waiters), []
    for future in pending:
        if not future.done():
            future.set_result(result)
