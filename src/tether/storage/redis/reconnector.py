"""``RedisReconnector``: keeps a redis-py client alive, and its subscriptions."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tether.core.backoff import Backoff
from tether.core.cause import Rule
from tether.core.duration import Duration
from tether.core.events import Kind, ReconnectEvent
from tether.errors import ConfigError
from tether.ports import Subscriber
from tether.runtime.blocking import call_on_thread
from tether.runtime.callbacks import finish
from tether.runtime.options import check_arguments, check_callable
from tether.runtime.reconnector import CALLBACK_GRACE, DEFAULT_INTERVAL, Reconnector
from tether.storage.redis.connector import RedisConnector, build_client
from tether.storage.redis.subscriptions import Handler, Subscription

CLOSE_TIMEOUT = 0.3
"""Seconds that closing a client of tether's own making may take."""


class RedisReconnector(Reconnector[Any]):
    """Keeps a Redis (or Valkey) client alive.

    The client stays yours: it is never closed and never reconfigured. tether probes on a connection of its own, made
    from the same settings, and after a loss no pooled connection to the old server is handed out again.

    Args:
        client: your ``redis.asyncio.Redis``; ``None`` to have one built from ``options``.
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

    _blocking = False

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
        self._built: Any = None
        if client is None:
            client = self._built = _build(options, blocking=self._blocking)
        elif options is not None:
            raise ConfigError(
                "options: give a client or options, not both; the client has its settings already"
            )
        _check_client(client, blocking=self._blocking)
        self._redis = RedisConnector(client)
        if self._built is not None and credentials is not None:
            self._redis.share_credential()
        super().__init__(
            self._redis,
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
            credentials=credentials,
            reauth_delay=reauth_delay,
            rules=rules,
            subscribers=(self._tell_gap, *subscribers),
            logger=logger,
            rng=rng,
        )

    async def stop(self) -> None:
        """End it, quickly, in every state. Your client stays open; one of tether's own making is closed."""
        await super().stop()
        if self._built is not None:
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    if self._blocking:
                        await call_on_thread(self._built.connection_pool.disconnect)
                    else:
                        await self._built.connection_pool.disconnect()
            except Exception:  # noqa: BLE001 - the sockets are gone or going; nothing is lost by it
                self._engine.watch.logger.debug("%s: closing its pool took too long", self.name)

    def leave_to_parent(self) -> object:
        """In a forked child: let go of the parent's connections, your client's too."""
        left = [super().leave_to_parent(), self._redis.leave_to_parent()]
        return left + [box.abandon() for box in self._redis.subscriptions.mailboxes()]

    async def _wind_down(self) -> None:
        await super()._wind_down()
        await self._redis.settled()
        await finish(self._redis.subscriptions.mailboxes(), CALLBACK_GRACE)

    def _abandon_dead_loop(self) -> None:
        super()._abandon_dead_loop()
        for box in self._redis.subscriptions.mailboxes():
            box.forget()

    async def subscribe(self, *channels: str, handler: Handler, pattern: bool = False) -> Subscription:
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
            The subscription; ``await subscription.unsubscribe()`` ends it.

        Raises:
            ConfigError: no channel, or a handler that cannot be called.
            redis.ResponseError: the server refuses it (no permission); then it is not kept.
        """
        if not channels or not all(map(_is_name, channels)):
            raise ConfigError(
                "channels: name at least one channel, as text: subscribe('news', handler=print)"
            )
        check_callable(handler, what="handler", example="print")
        check_arguments(handler, ("message",), what="handler")
        subscription = Subscription(
            self._redis.subscriptions, channels, handler, self._reports, pattern=pattern
        )
        await self._redis.subscriptions.subscribe(subscription)
        return subscription

    def _tell_gap(self, event: ReconnectEvent) -> None:
        if event.kind is Kind.RECONNECTED and self._redis.subscriptions:
            # Soon, not now: the reconnect itself must be told first.
            names = self._redis.subscriptions.names()
            asyncio.get_running_loop().call_soon(self._publish_gap, event.elapsed, names)

    def _publish_gap(self, elapsed: float | None, names: list[str]) -> None:
        self._engine.tell(Kind.GAP, elapsed=elapsed, channels=names)


class BlockingRedisReconnector(RedisReconnector):
    """The same for a blocking ``redis.Redis``: what is behind ``tether.sync.RedisReconnector``."""

    _blocking = True


def _build(options: str | Mapping[str, Any] | None, *, blocking: bool) -> Any:
    if options is None:
        kind = "redis.Redis" if blocking else "redis.asyncio.Redis"
        raise ConfigError(f"client: give a {kind}, or options such as 'redis://localhost:6379/0'")
    if not _is_settings(options):
        raise ConfigError(
            f"options: {type(options).__name__} is neither a URL nor a mapping of redis-py's arguments"
        )
    return build_client(options, blocking=blocking)


def _is_name(channel: object) -> bool:
    return isinstance(channel, str) and channel != ""


def _is_settings(options: object) -> bool:
    return isinstance(options, (str, Mapping))


def _check_client(client: Any, *, blocking: bool) -> None:
    module = type(client).__module__
    pool = getattr(client, "connection_pool", None)
    if not blocking and module.startswith("redis.") and "asyncio" not in module:
        raise ConfigError(
            "client: this is a blocking redis client; use tether.sync.RedisReconnector, or pass a redis.asyncio.Redis"
        )
    if blocking and "asyncio" in module:
        raise ConfigError(
            "client: this is an asyncio client; use tether.storage.RedisReconnector, or pass a redis.Redis"
        )
    if "Cluster" in type(client).__name__ or "Sentinel" in type(pool).__name__:
        raise ConfigError(
            "client: Redis Cluster and Sentinel are not supported yet; pass a plain redis.asyncio.Redis"
        )
    if isinstance(client, str):
        raise ConfigError(
            "client: a URL is the second argument: RedisReconnector(None, 'redis://localhost:6379/0')"
        )
    if pool is None or not hasattr(pool, "connection_kwargs"):
        raise ConfigError(f"client: {type(client).__name__} is not a redis.asyncio.Redis")
    if not hasattr(pool, "update_active_connections_for_reconnect"):
        raise ConfigError(
            "client: this redis-py is too old; tether needs 7.0 or later: pip install 'redis>=7'"
        )
