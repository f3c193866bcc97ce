"""The reconnectors and the manager without ``await``, for programs without an event loop.

Supervision goes on in one event loop on a thread of its own, which is there only between ``start()`` and ``stop()``.
``run()`` and ``guard()`` stay on the caller's thread; callbacks are called on threads of their own. Everything may be
called from any thread; where an event loop is running, it raises ``UsageError`` (a ``RuntimeError``) instead of
blocking it.

Written by tools/generate_sync.py: change that, or the async classes.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from tether.core.backoff import Backoff
from tether.core.cause import Rule
from tether.core.duration import Duration, seconds
from tether.core.lifecycle import Status
from tether.ports import Connector, Subscriber
from tether.runtime import reconnector as _runtime
from tether.runtime.blocking import Blocking, BlockingEvents, BlockingGuard, threaded
from tether.runtime.blocking_manager import BlockingManager
from tether.runtime.reconnector import DEFAULT_INTERVAL
from tether.runtime.stats import Stats
from tether.storage.redis import reconnector as _redis
from tether.storage.redis.blocking import BlockingSubscription
from tether.storage.redis.subscriptions import Handler

__all__ = ["ReconnectManager", "Reconnector", "RedisReconnector"]

C = TypeVar("C")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Reconnector(Blocking[C]):
    """Keeps one connection alive: notices a loss, names the cause, waits the right time, comes back, restores.

    The constructor does no I/O and needs no running loop. All methods may be called from any thread.

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
        super().__init__(
            _runtime.Reconnector(
                connector,
                name=name,
                max_retries=max_retries,
                retry_interval=retry_interval,
                connect_timeout=connect_timeout,
                stable_after=stable_after,
                health_check=health_check,
                health_check_interval=health_check_interval,
                health_check_timeout=health_check_timeout,
                failure_threshold=failure_threshold,
                callback_timeout=callback_timeout,
                credentials=threaded(credentials),
                reauth_delay=reauth_delay,
                quick_first_retry=quick_first_retry,
                rules=rules,
                subscribers=subscribers,
                logger=logger,
                rng=rng,
            )
        )

    _inner: _runtime.Reconnector[C]

    @property
    def name(self) -> str:
        """The connection's name."""
        return self._inner.name

    @property
    def status(self) -> Status:
        """The public status."""
        return self._inner.status

    @property
    def is_started(self) -> bool:
        """Whether it is being looked after: between ``start()`` and ``stop()``."""
        return self._inner.is_started

    @property
    def is_connected(self) -> bool:
        """Whether the connection is up: a round trip has succeeded after restore, and nothing bad was seen since."""
        return self._inner.is_connected

    @property
    def client(self) -> C:
        """The client to call. Your own client is always there; without one, this raises ``NotConnected`` while down."""
        return self._inner.client

    @property
    def last_error(self) -> BaseException | None:
        """What ended the last connection or attempt; stays after a reconnect."""
        return self._inner.last_error

    @property
    def retry_count(self) -> int:
        """Failed attempts in a row; 0 once connected."""
        return self._inner.retry_count

    @property
    def generation(self) -> int:
        """Number of the latest dial. Hand it to ``report()`` with an error of that connection."""
        return self._inner.generation

    @property
    def max_retries(self) -> int | None:
        """Attempts after a loss; ``None`` for ever."""
        return self._inner.max_retries

    @max_retries.setter
    def max_retries(self, value: int | None) -> None:
        self._do(setattr, self._inner, "max_retries", value)

    @property
    def retry_interval(self) -> Backoff:
        """The backoff."""
        return self._inner.retry_interval

    @retry_interval.setter
    def retry_interval(self, value: Backoff) -> None:
        self._do(setattr, self._inner, "retry_interval", value)

    def start(self, *, require_initial: bool = False) -> None:
        """Begin, and wait for the first attempt to end, well or badly.

        An unreachable server is just the first thing to heal: it is tried again in the background. Cancelling this
        call does not stop it; ``stop()`` does.

        Args:
            require_initial: raise, and stop again, when the first attempt fails.

        Raises:
            UsageError: started already.
            NotConnected: the first attempt failed (only with ``require_initial``).
        """
        self._start(require_initial=require_initial)

    def leave_to_parent(self) -> object:
        """In a forked child: let go of the parent's connection. See ``tether.runtime.fork.Forked``."""
        return self._do(self._inner.leave_to_parent)

    def stop(self) -> None:
        """End it, quickly, in every state. Idempotent; legal inside callbacks.

        After this there is no task, socket or timer left, and nothing dials until ``start()``.

        Raises:
            UsageError: it was started in another process, that this one was forked from, and not here.
        """
        self._stop()

    def wait_connected(self, timeout: Duration | None = None) -> None:
        """Return once connected.

        Raises:
            TimeoutError: not within ``timeout`` seconds (``None`` waits for ever).
            NotConnected: it is stopped, or was given up.
        """
        self._await(self._inner.wait_connected(timeout))

    def reconnect(self) -> bool:
        """Reconnect now: wakes a backoff sleep, revives what was given up, replaces a live connection.

        Joins a dial that is under way; never makes a second one. The failure count is not reset.

        Returns:
            Whether the attempt connected.

        Raises:
            UsageError: not started, or paused.
        """
        return self._await(self._inner.reconnect())

    def pause(self) -> None:
        """Leave it alone until ``resume()``: no dial, no probe. A live connection stays.

        Raises:
            UsageError: not started.
        """
        self._do(self._inner.pause)

    def resume(self) -> None:
        """Look after it again, at once."""
        self._do(self._inner.resume)

    def network_changed(self) -> None:
        """The uplink changed or came back: probe at once, or dial at once instead of sleeping on."""
        self._do(self._inner.network_changed)

    def credential_changed(self) -> None:
        """There is a new credential: try a refused login again at once."""
        self._do(self._inner.credential_changed)

    def run(
        self, operation: Callable[[C], T], *, idempotent: bool = False, timeout: Duration | None = None
    ) -> T:
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

        It is called on this thread, and must not be async. A blocking call cannot be cut off from outside: give
        your client timeouts of its own; ``timeout`` bounds the waiting for a connection.
        """
        return self._run(operation, idempotent=idempotent, timeout=_limit(timeout))

    def guard(self) -> BlockingGuard[C]:
        """``with reconnector.guard() as client:`` — as ``run()``, for a block.

        Raises (on entering):
            NotConnected: down.
        """
        return self._guard()

    def report(self, error: BaseException, generation: int | None = None) -> None:
        """Tell that a call of yours failed with ``error``.

        With the ``generation`` that the call began in, an error that means a loss tears that connection down; one of
        an older generation changes nothing. Without, a probe is made at once and decides.
        """
        self._do(self._inner.report, error, generation)

    def on_connect(self, callback: F) -> F:
        """Have ``callback()`` called after the first connection. Returns it: usable as a decorator."""
        return self._observe(self._inner.on_connect, callback)

    def on_disconnect(self, callback: F) -> F:
        """Have ``callback(error)`` called once per loss."""
        return self._observe(self._inner.on_disconnect, callback)

    def on_reconnect(self, callback: F) -> F:
        """Have ``callback()`` called after every connection but the first."""
        return self._observe(self._inner.on_reconnect, callback)

    def on_reconnect_failed(self, callback: F) -> F:
        """Have ``callback(error, retry_count)`` called after every failed attempt; ``retry_count`` is 1-based."""
        return self._observe(self._inner.on_reconnect_failed, callback)

    def on_give_up(self, callback: F) -> F:
        """Have ``callback(error, retry_count)`` called when no attempt is left (or a login was refused for good)."""
        return self._observe(self._inner.on_give_up, callback)

    def events(self) -> BlockingEvents:
        """Return the events from now on: ``for event in reconnector.events()``. Ends with ``stop()``."""
        return self._events()

    def stats(self) -> Stats:
        """Return the figures as they are now."""
        return self._inner.stats()


class RedisReconnector(Reconnector[Any]):
    """Keeps a Redis (or Valkey) client alive.

    The client stays yours: it is never closed and never reconfigured. tether probes on a connection of its own, made
    from the same settings, and after a loss no pooled connection to the old server is handed out again.

    Args:
        client: your ``redis.Redis``; ``None`` to have one built from ``options``.
        options: a URL (``redis://user:password@host:6379/0``) or redis-py's keyword arguments; only without ``client``.
        credentials: sync or async callable that answers a password, or ``(user, password)``. It serves tether's own
            connection and a client of tether's own making; give a client of yours a ``credential_provider`` itself.
        name, max_retries, retry_interval, connect_timeout, stable_after, health_check, health_check_interval,
        health_check_timeout, failure_threshold, callback_timeout, reauth_delay, rules, subscribers, logger, rng:
            as in ``Reconnector``; durations in seconds or text such as ``500ms``.

    Raises:
        ConfigError: a value that cannot work.
        MissingDriver: redis-py is not installed.
    """

    _inner: _redis.RedisReconnector

    def __init__(
        self,
        client: Any = None,
        options: str | Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        max_retries: int | None = 5,
        retry_interval: Backoff = DEFAULT_INTERVAL,
        connect_timeout: Duration = 10.0,
        stable_after: Duration = 10.0,
        health_check: bool = True,
        health_check_interval: Duration = 5.0,
        health_check_timeout: Duration = 2.0,
        failure_threshold: int = 1,
        callback_timeout: Duration = 30.0,
        credentials: Callable[[], Any] | None = None,
        reauth_delay: Duration = 1.0,
        rules: Sequence[Rule] = (),
        subscribers: Sequence[Subscriber] = (),
        logger: logging.Logger | None = None,
        rng: random.Random | None = None,
    ) -> None:
        Blocking.__init__(
            self,
            _redis.BlockingRedisReconnector(
                client,
                options,
                name=name,
                max_retries=max_retries,
                retry_interval=retry_interval,
                connect_timeout=connect_timeout,
                stable_after=stable_after,
                health_check=health_check,
                health_check_interval=health_check_interval,
                health_check_timeout=health_check_timeout,
                failure_threshold=failure_threshold,
                callback_timeout=callback_timeout,
                credentials=threaded(credentials),
                reauth_delay=reauth_delay,
                rules=rules,
                subscribers=subscribers,
                logger=logger,
                rng=rng,
            ),
        )

    def subscribe(self, *channels: str, handler: Handler, pattern: bool = False) -> BlockingSubscription:
        """Listen to channels, on a connection of tether's own, across every loss.

        Redis pub/sub keeps nothing: after an outage a ``gap`` event says for how long messages may be missing. It may
        be called while down or before ``start()``; it then takes effect with the connection.

        Args:
            channels: names, or patterns (``news.*``) with ``pattern=True``.
            handler: sync or async, called with each message in redis-py's form: a dict with ``type``, ``pattern``,
                ``channel`` and ``data`` (text if your client decodes, else bytes). One at a time, in order; 1 000
                messages are kept for a slow one, then the oldest is dropped and counted.
            pattern: whether ``channels`` are patterns.

        Returns:
            The subscription; ``subscription.unsubscribe()`` ends it.

        Raises:
            ConfigError: no channel, or a handler that cannot be called.
            redis.ResponseError: the server refuses it (no permission); then it is not kept.
        """
        work = self._inner.subscribe(*channels, handler=threaded(handler), pattern=pattern)
        return BlockingSubscription(self, self._await(work))


class ReconnectManager(BlockingManager):
    """Holds reconnectors by name. Only what waits is async."""

    def register(self, name: str, reconnector: Blocking[Any], *, depends_on: Iterable[str] = ()) -> None:
        """Add a reconnector. It is not started by this.

        Args:
            name: unique in this manager.
            reconnector: what to hold.
            depends_on: names to start before it (and to stop after it); they may be registered later.

        Raises:
            ConfigError: the name is taken or empty, or the dependencies run in a circle.
        """
        self._register(name, reconnector, depends_on)

    def unregister(self, name: str) -> Blocking[Any] | None:
        """Forget a reconnector and return it (``None`` if there is none). It is not stopped by this."""
        return self._unregister(name)

    def get(self, name: str) -> Blocking[Any] | None:
        """Return the reconnector of that name, or ``None``."""
        return self._faces.get(name)

    def names(self) -> list[str]:
        """Return the names in the order of registration."""
        return self._inner.names()

    def status(self) -> dict[str, Stats]:
        """Return the figures of each connection as they are now. May be called on any thread: a scrape is."""
        return self._inner.status()

    def network_changed(self) -> None:
        """Tell every started connection that the uplink changed: it probes, or dials, at once."""
        self._do_network_changed()

    def start_all(self) -> dict[str, Exception | None]:
        """Start all, dependencies first, the rest side by side.

        Returns:
            What ``start()`` raised, by name; ``None`` where it went well. A server that is unreachable is no error:
            its connection is being healed. One that depends on a name that is not registered is not started, and has
            a ``ConfigError`` here.
        """
        return self._start_all()

    def stop_all(self) -> dict[str, Exception | None]:
        """Stop all, in the reverse order. Returns what ``stop()`` raised, by name."""
        return self._stop_all()

    def wait_all_connected(self, timeout: Duration | None = None) -> None:
        """Return once all are connected.

        Raises:
            TimeoutError: not within ``timeout`` seconds; the message names those that are down.
            NotConnected: one of them is stopped or was given up.
        """
        self._await(self._inner.wait_all_connected(timeout))


def _limit(timeout: Duration | None) -> float | None:
    return None if timeout is None else seconds(timeout, what="timeout")
