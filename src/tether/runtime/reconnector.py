"""The public face of one supervised connection."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, overload

from tether.backoff import exponential_backoff
from tether.core import signals as sig
from tether.core.backoff import Backoff
from tether.core.cause import Rule
from tether.core.duration import Duration, seconds
from tether.core.events import Kind
from tether.core.lifecycle import Status
from tether.core.schedule import Plan
from tether.errors import UsageError
from tether.observe.history import history
from tether.observe.logs import LogLines
from tether.observe.tally import Tally
from tether.ports import Connector, Subscriber
from tether.runtime import calls
from tether.runtime.attempt import Credentials
from tether.runtime.bus import Bus, EventStream
from tether.runtime.callbacks import finish
from tether.runtime.classify import all_rules
from tether.runtime.engine import Engine
from tether.runtime.fork import remember
from tether.runtime.hooks import Hooks
from tether.runtime.options import Watch, check_callable, check_count, safe_backoff
from tether.runtime.reports import EngineReports
from tether.runtime.stats import Stats, stats_of

C = TypeVar("C")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

CALLBACK_GRACE = 0.3
"""Seconds that ``stop()`` gives callbacks that are still running."""

DEFAULT_INTERVAL = exponential_backoff(1, 2, maximum=60, jitter=0.1)


class Reconnector(Generic[C]):
    """Keeps one connection alive: notices a loss, names the cause, waits the right time, comes back, restores.

    The constructor does no I/O and needs no running loop. All methods belong to the event loop of ``start()``.

    Args:
        connector: the technology (``tether.ports.Connector``).
        name: for logs, events and the manager; the connector's kind and endpoint by default.
        max_retries: attempts after a loss (a first start: one more); ``None`` for ever. Settable while running.
        retry_interval: a backoff, ``retry_count (0-based) -> seconds``. Settable while running.
        connect_timeout: one deadline over a whole attempt: DNS, TCP, TLS, login, restore, round trip.
        stable_after: how long a connection must live before its backoff forgets.
        health_check: probe actively; ``False`` leaves the passive signals.
        health_check_interval: between probes.
        health_check_timeout: for one probe.
        failure_threshold: failed probes in a row that make a loss.
        callback_timeout: for one call of an async callback.
        credentials: sync or async callable that answers a new credential when the old one was refused.
        reauth_delay: pause between a refused login and the next one.
        quick_first_retry: whether the first dial after a stable connection waits only U[0, 0.1 s].
        rules: your own ``rule(error, phase)`` → a cause's code or ``None``, asked before the built-in ones.
        subscribers: called with every event, at once; they must neither wait nor raise.
        logger: ``None`` for ``logging.getLogger("tether.<kind>")``.
        rng: the source of jitter, for tests.

    Raises:
        ConfigError: a value that cannot work; nothing was started.
    """

    def __init__(
        self,
        connector: Connector[Any],
        *,
        name: str | None = None,
        max_retries: int | None = None,
        retry_interval: Backoff = DEFAULT_INTERVAL,
        connect_timeout: Duration = 10.0,
        stable_after: Duration = 10.0,
        health_check: bool = True,
        health_check_interval: Duration = 10.0,
        health_check_timeout: Duration = 3.0,
        failure_threshold: int = 1,
        callback_timeout: Duration = 30.0,
        credentials: Callable[[], Any] | None = None,
        reauth_delay: Duration = 1.0,
        quick_first_retry: bool = True,
        rules: Sequence[Rule] = (),
        subscribers: Sequence[Subscriber] = (),
        logger: logging.Logger | None = None,
        rng: random.Random | None = None,
    ) -> None:
        if credentials is not None:
            check_callable(credentials, what="credentials", example="lambda: read_password()")
        logger = logger or logging.getLogger(f"tether.{connector.kind}")
        watch = Watch(
            logger=logger,
            connect_timeout=seconds(connect_timeout, what="connect_timeout", positive=True),
            health_check=bool(health_check),
            interval=seconds(health_check_interval, what="health_check_interval", positive=True),
            timeout=seconds(health_check_timeout, what="health_check_timeout", positive=True),
            failure_threshold=check_count(failure_threshold, what="failure_threshold", least=1) or 1,
            callback_timeout=seconds(callback_timeout, what="callback_timeout", positive=True),
        )
        plan = Plan(
            interval=safe_backoff(retry_interval, logger),
            max_retries=check_count(max_retries, what="max_retries", least=0, may_be_none=True),
            stable_after=seconds(stable_after, what="stable_after"),
            reauth_delay=seconds(reauth_delay, what="reauth_delay"),
            quick_first=bool(quick_first_retry),
        )
        self._tally = Tally()
        self._bus = Bus()
        self._engine: Engine[Any] = Engine(
            name or f"{connector.kind}://{connector.endpoint}",
            connector,
            plan=plan,
            watch=watch,
            rules=all_rules(rules, connector.rules, connector.driver_modules),
            credentials=None if credentials is None else Credentials(credentials),
            publish=self._bus.publish,
            rand=random.random if rng is None else rng.random,
        )
        self._reports = EngineReports(self._engine)
        self._hooks = Hooks(watch.callback_timeout, self._reports)
        self._bus.subscribers = (self._tally, LogLines(logger), history.append, self._hooks, *subscribers)
        remember(self)

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The connection's name."""
        return self._engine.name

    @property
    def status(self) -> Status:
        """The public status."""
        return self._engine.link.status

    @property
    def is_started(self) -> bool:
        """Whether it is being looked after: between ``start()`` and ``stop()``."""
        return self.status is not Status.DISCONNECTED

    @property
    def is_connected(self) -> bool:
        """Whether the connection is up: a round trip has succeeded after restore, and nothing bad was seen since."""
        return self._engine.up

    @property
    def client(self) -> C:
        """The client to call. Your own client is always there; without one, this raises ``NotConnected`` while down."""
        own = self._engine.connector.client
        if (own is None or self._engine.is_inherited) and not self._engine.up:
            raise self._engine.not_connected()
        client: C = self._engine.client if own is None else own
        return client

    @property
    def last_error(self) -> BaseException | None:
        """What ended the last connection or attempt; stays after a reconnect."""
        return self._engine.last_error

    @property
    def retry_count(self) -> int:
        """Failed attempts in a row; 0 once connected."""
        return self._engine.link.retry_count

    @property
    def generation(self) -> int:
        """Number of the latest dial. Hand it to ``report()`` with an error of that connection."""
        return self._engine.link.generation

    @property
    def max_retries(self) -> int | None:
        """Attempts after a loss; ``None`` for ever."""
        return self._engine.plan.max_retries

    @max_retries.setter
    def max_retries(self, value: int | None) -> None:
        count = check_count(value, what="max_retries", least=0, may_be_none=True)
        self._engine.plan = replace(self._engine.plan, max_retries=count)

    @property
    def retry_interval(self) -> Backoff:
        """The backoff."""
        return self._engine.plan.interval

    @retry_interval.setter
    def retry_interval(self, value: Backoff) -> None:
        interval = safe_backoff(value, self._engine.watch.logger)
        self._engine.plan = replace(self._engine.plan, interval=interval)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.status.value}>"

    # -- its life -----------------------------------------------------------------------------------------------------

    async def start(self, *, require_initial: bool = False) -> None:
        """Begin, and wait for the first attempt to end, well or badly.

        An unreachable server is just the first thing to heal: it is tried again in the background. Cancelling this
        call does not stop it; ``stop()`` does.

        Args:
            require_initial: raise, and stop again, when the first attempt fails.

        Raises:
            UsageError: started already.
            NotConnected: the first attempt failed (only with ``require_initial``).
        """
        engine = self._engine
        if engine.link.status is not Status.DISCONNECTED:
            self._take_over(asyncio.get_running_loop())
        engine.loop, engine.is_inherited = asyncio.get_running_loop(), False
        engine.feed(sig.Start())
        connected = await engine.attempt_ended_for.add()
        if require_initial and not connected:
            error = engine.not_connected()
            await self.stop()
            raise error

    def _take_over(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start over after a loop that ended without ``stop()``; refuse to start twice."""
        engine = self._engine
        if engine.loop is loop or engine.loop is None or not engine.loop.is_closed():
            raise UsageError(f"{engine.name} is started already ({self.status.value}); call stop() first")
        self._abandon_dead_loop()

    def _abandon_dead_loop(self) -> None:
        self._engine.abandon_dead_loop()
        self._hooks.forget()
        self._bus.end_streams()

    def leave_to_parent(self) -> object:
        """In a forked child: let go of the parent's connection. See ``tether.runtime.fork.Forked``."""
        return self._engine.leave_to_parent(), self._hooks.abandon(), self._bus.abandon_streams()

    async def stop(self) -> None:
        """End it, quickly, in every state. Idempotent; legal inside callbacks.

        After this there is no task, socket or timer left, and nothing dials until ``start()``.

        Raises:
            UsageError: it was started in another process, that this one was forked from, and not here.
        """
        engine = self._engine
        if engine.is_inherited:
            raise engine.not_started_here()
        if engine.loop is None:
            return
        if engine.loop.is_closed():
            self._abandon_dead_loop()
            return
        self._check_loop()
        engine.feed(sig.Stop())
        try:
            await self._wind_down()
        finally:
            if not self.is_started:  # it may have been started again meanwhile
                self._bus.end_streams()

    async def _wind_down(self) -> None:
        """Wait, a short while, for all that the end has cut off; the events of that are still told to everybody."""
        await asyncio.gather(self._engine.unwind(), finish(self._hooks.mailboxes(), CALLBACK_GRACE))

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except asyncio.CancelledError:  # there will be no __aexit__
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def wait_connected(self, timeout: Duration | None = None) -> None:
        """Return once connected.

        Raises:
            TimeoutError: not within ``timeout`` seconds (``None`` waits for ever).
            NotConnected: it is stopped, or was given up.
        """
        self._check_loop()
        async with asyncio.timeout(None if timeout is None else seconds(timeout, what="timeout")):
            await calls.wait_until_up(self._engine)

    async def reconnect(self) -> bool:
        """Reconnect now: wakes a backoff sleep, revives what was given up, replaces a live connection.

        Joins a dial that is under way; never makes a second one. The failure count is not reset.

        Returns:
            Whether the attempt connected.

        Raises:
            UsageError: not started, or paused.
        """
        self._check_loop()
        ended = self._engine.attempt_ended_for.add()
        try:
            self._engine.feed(sig.Force())
            return await ended
        finally:
            ended.cancel()

    def pause(self) -> None:
        """Leave it alone until ``resume()``: no dial, no probe. A live connection stays.

        Raises:
            UsageError: not started.
        """
        self._check_loop()
        self._engine.feed(sig.Pause())

    def resume(self) -> None:
        """Look after it again, at once."""
        self._check_loop()
        self._engine.feed(sig.Resume())

    def network_changed(self) -> None:
        """The uplink changed or came back: probe at once, or dial at once instead of sleeping on."""
        self._check_loop()
        self._engine.network_changed()

    def credential_changed(self) -> None:
        """There is a new credential: try a refused login again at once."""
        self._check_loop()
        self._engine.credential_changed()

    # -- calls --------------------------------------------------------------------------------------------------------

    @overload
    async def run(
        self,
        operation: Callable[[C], Awaitable[T]],
        *,
        idempotent: bool = ...,
        timeout: Duration | None = ...,
    ) -> T: ...

    @overload
    async def run(
        self, operation: Callable[[C], T], *, idempotent: bool = ..., timeout: Duration | None = ...
    ) -> T: ...

    async def run(
        self, operation: Callable[[C], Any], *, idempotent: bool = False, timeout: Duration | None = None
    ) -> Any:
        """Call ``operation(client)``, sync or async, on the live connection.

        Args:
            operation: one call. A client that retries by itself is left to do so.
            idempotent: repeat it on the next connection when this one is lost in mid-call.
            timeout: seconds for all of it; while down it waits within them. Without one, down raises at once.

        Raises:
            UsageError: ``operation`` is no function, such as the coroutine that calling one has made.
            NotConnected: down, and not to wait (any longer).
            IndeterminateError: lost in mid-call: it may have been done, or not.
            TimeoutError: not done within ``timeout``.
        """
        engine = self._engine
        if not callable(operation):
            raise calls.not_a_function(engine, operation)
        if timeout is None and not idempotent and engine.up:
            return await calls.run_once(engine, operation)  # nothing in between on the hot path
        limit = None if timeout is None else seconds(timeout, what="timeout")
        return await calls.run(engine, operation, idempotent=idempotent, timeout=limit)

    def guard(self) -> calls.Guard[C]:
        """``async with reconnector.guard() as client:`` — as ``run()``, for a block.

        Raises (on entering):
            NotConnected: down.
        """
        return calls.Guard(self._engine)

    def report(self, error: BaseException, generation: int | None = None) -> None:
        """Tell that a call of yours failed with ``error``.

        With the ``generation`` that the call began in, an error that means a loss tears that connection down; one of
        an older generation changes nothing. Without, a probe is made at once and decides.
        """
        self._check_loop()
        calls.report(self._engine, error, generation)

    # -- what happens -------------------------------------------------------------------------------------------------

    def on_connect(self, callback: F) -> F:
        """Have ``callback()`` called after the first connection. Returns it: usable as a decorator."""
        return self._hooks.add(Kind.CONNECTED, callback)

    def on_disconnect(self, callback: F) -> F:
        """Have ``callback(error)`` called once per loss."""
        return self._hooks.add(Kind.LOST, callback)

    def on_reconnect(self, callback: F) -> F:
        """Have ``callback()`` called after every connection but the first."""
        return self._hooks.add(Kind.RECONNECTED, callback)

    def on_reconnect_failed(self, callback: F) -> F:
        """Have ``callback(error, retry_count)`` called after every failed attempt; ``retry_count`` is 1-based."""
        return self._hooks.add(Kind.ATTEMPT_FAILED, callback)

    def on_give_up(self, callback: F) -> F:
        """Have ``callback(error, retry_count)`` called when no attempt is left (or a login was refused for good)."""
        return self._hooks.add(Kind.GAVE_UP, callback)

    def events(self) -> EventStream:
        """Return the events from now on: ``async for event in reconnector.events()``. Ends with ``stop()``."""
        loop = self._engine.loop
        if self.is_started and loop is not None and not loop.is_closed():
            self._check_loop()
        return EventStream(self._bus)

    def stats(self) -> Stats:
        """Return the figures as they are now."""
        return stats_of(self._engine, self._tally, self._reports.dropped)

    def _check_loop(self) -> None:
        loop = self._engine.loop
        if loop is None:
            raise self._engine.not_started_here()
        try:
            running: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is not loop:
            raise UsageError(f"{self.name} belongs to the event loop that started it; call it from there")
