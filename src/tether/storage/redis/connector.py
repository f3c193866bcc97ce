"""How Redis is opened, restored, probed and dropped; and what its errors mean."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from tether.core.cause import Cause, Code, Phase, Verdict
from tether.core.redact import redact
from tether.errors import ConfigError, MissingDriver, UsageError
from tether.ports import Attempt, Connector
from tether.runtime.blocking import call_on_thread
from tether.runtime.classify import network_rule, through_chain
from tether.storage.redis.connection import Session, open_session, own_class_of, own_settings
from tether.storage.redis.inherited import leave_pool
from tether.storage.redis.subscriptions import Key, Registry

POOL_TIMEOUT = 1.0
"""Seconds that closing the idle connections of the user's pool may take."""

_TOO_MANY = "max number of clients reached"
"""The server's whole reply; Redis gives this refusal no code of its own, so its text is the code."""

_network = through_chain(network_rule)


def import_redis() -> Any:
    """Return redis-py's asyncio module.

    Raises:
        MissingDriver: redis-py is not installed.
    """
    try:
        import redis.asyncio
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "redis":
            raise  # redis-py is there, and one of its own needs is not: that must not be hidden
        raise MissingDriver("redis", "redis") from error
    return redis.asyncio


def redis_rule(error: BaseException, phase: Phase) -> Verdict:
    """Classify redis-py's exceptions, by type. Replies that are errors (a wrong type, no permission) are no loss."""
    from redis import exceptions as ex

    if isinstance(error, ex.MaxConnectionsError):
        return None  # the user's own pool is exhausted: says nothing about the server
    if isinstance(
        error, (ex.AuthenticationError, ex.AuthorizationError, ex.AuthenticationWrongNumberOfArgsError)
    ):
        return Cause(Code.AUTH, Phase.AUTH, error)
    if isinstance(error, ex.BusyLoadingError):
        return Code.OVERLOADED
    if isinstance(error, ex.TimeoutError):
        return Code.TIMEOUT
    if isinstance(error, ex.InvalidResponse):
        return Code.PROTOCOL
    if type(error) is ex.ConnectionError:
        if error.args[:1] == (_TOO_MANY,):
            return Code.OVERLOADED
        return _network(error, phase) or Cause(Code.EOF, phase, error)
    return None


class RedisConnector(Connector[Session]):
    """Joins redis-py to the runtime.

    Args:
        client: the user's ``redis.asyncio.Redis``; never closed, never reconfigured.
    """

    kind = "redis"
    rules = (redis_rule,)
    driver_modules = ("redis",)

    def __init__(self, client: Any) -> None:
        self.client = client
        self._pool = client.connection_pool
        self._is_blocking = is_blocking(client)
        self._class, own = own_class_of(self._pool)
        kwargs = self._kwargs = own
        self.endpoint = endpoint_of(kwargs)
        self.driver_retries = _retries(kwargs) != 0
        self.credential = _own_credential(kwargs)
        self.current_credential = self.credential
        self.subscriptions = Registry(self._send, decode=bool(kwargs.get("decode_responses")))
        self._session: Session | None = None
        self._retiring: asyncio.Task[None] | None = None

    @property
    def secrets(self) -> Sequence[str]:  # type: ignore[override]
        """The password, in whatever form it is known."""
        words = (
            self.current_credential
            if isinstance(self.current_credential, tuple)
            else (self.current_credential,)
        )
        return [
            word
            for word in (*words[-1:], self._pool.connection_kwargs.get("password"))
            if isinstance(word, str)
        ]

    def share_credential(self) -> None:
        """Have the pool log in with whatever the credentials provider answered last. Only for a client tether built."""
        from tether.storage.redis.provider import provider_for

        kwargs = self._pool.connection_kwargs
        kwargs.pop("username", None)
        kwargs.pop("password", None)
        kwargs["credential_provider"] = provider_for(lambda: self.current_credential)

    async def open(self, attempt: Attempt) -> Session:
        """Connect and log in on a connection of tether's own."""
        if attempt.credential is not None:
            self.current_credential = attempt.credential
        settings = own_settings(self._kwargs, attempt.credential)
        self._session = await open_session(self._class, settings, attempt, self.subscriptions.deliver)
        return self._session

    async def restore(self, handle: Session) -> Sequence[str]:
        """Clear the user's pool of connections to the old server, then bring back the subscriptions."""
        if not handle.pool_retired:
            await self._retire_pool()
            handle.pool_retired = True
        refused: set[Key] = set()
        while missing := self.subscriptions.wanted() - handle.subscribed - refused:
            refused |= await self._subscribe_one(handle, missing.pop())
        for gone in handle.subscribed - self.subscriptions.wanted():
            await self._tell(handle, gone, wanted=False)
        return sorted(name.decode(errors="replace") for _, name in refused)

    async def _subscribe_one(self, handle: Session, key: Key) -> set[Key]:
        """Subscribe one key by itself: one that the server refuses must not take the others with it."""
        from redis.exceptions import ResponseError

        try:
            await self._tell(handle, key, wanted=True)
        except ResponseError:
            return {key}
        return set()

    @staticmethod
    async def _tell(handle: Session, key: Key, *, wanted: bool) -> None:
        pattern, name = key
        await handle.command(f"{'P' if pattern else ''}{'' if wanted else 'UN'}SUBSCRIBE", name)
        if wanted:
            handle.subscribed.add(key)
        else:
            handle.subscribed.discard(key)

    async def _send(self, keys: list[Key], *, wanted: bool) -> None:
        """(Un)subscribe on the open connection, if there is one; a loss meanwhile leaves it to the restore."""
        from redis.exceptions import ResponseError

        session = self._session
        if session is None:
            return
        if asyncio.get_running_loop() is not session.loop:
            raise UsageError(
                f"{self.endpoint} is supervised in another event loop; subscribe and unsubscribe there"
            )
        for key in keys:
            try:
                await self._tell(session, key, wanted=wanted)
            except ResponseError:
                raise
            except (Exception, asyncio.CancelledError):
                if self._session is session:
                    raise
                return

    async def _retire_pool(self) -> None:
        """Have no connection of before the loss handed out again: idle ones close, busy ones when they are released."""
        if self._is_blocking:  # its locks are held by other threads, and not for long
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POOL_TIMEOUT):
                    await call_on_thread(_retire, self._pool)
            return
        await self._pool.update_active_connections_for_reconnect()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(POOL_TIMEOUT):
                await self._pool.disconnect(inuse_connections=False)

    async def probe(self, handle: Session) -> None:
        """PING, on the connection that also listens."""
        await handle.command("PING")

    def abort(self, handle: Session) -> None:
        """Drop it, and have the user's pool forget its connections to a server that is gone."""
        if self._session is handle:
            self._session = None
        handle.abort()
        loop = handle.loop
        if loop.is_running() and not loop.is_closed() and (self._retiring is None or self._retiring.done()):
            self._retiring = loop.create_task(self._retire_pool(), name="tether redis pool")

    async def settled(self) -> None:
        """Wait until the pool has been cleared; bounded by ``POOL_TIMEOUT``."""
        if self._retiring is not None and self._retiring.get_loop() is asyncio.get_running_loop():
            await asyncio.wait({self._retiring}, timeout=POOL_TIMEOUT)
        self._retiring = None

    def leave_to_parent(self) -> object:
        """In a forked child: let go of the parent's connections, the pool's too. See ``tether.runtime.fork.Forked``."""
        left: list[object] = [
            self._session,
            self._retiring,
            None if self._is_blocking else leave_pool(self.client),
        ]
        if self._session is not None:
            left.append(self._session.leave_to_parent())
        self._session = self._retiring = None
        return left

    async def close(self, handle: Session) -> None:
        """QUIT, then drop it."""
        if self._session is handle:
            self._session = None
        await handle.close()


def _retire(pool: Any) -> None:
    pool.update_active_connections_for_reconnect()
    with contextlib.suppress(Exception):
        pool.disconnect(inuse_connections=False)


def is_blocking(client: Any) -> bool:
    """Whether ``client`` is redis-py's blocking one."""
    module: str = type(client.connection_pool).__module__
    return module.startswith("redis.") and "asyncio" not in module


def endpoint_of(kwargs: dict[str, Any]) -> str:
    """Return where a pool connects to, for people: no credentials."""
    if "path" in kwargs:
        return str(kwargs["path"])
    host, port = kwargs.get("host", "localhost"), kwargs.get("port", 6379)
    return redact(f"{host}:{port}/{kwargs.get('db') or 0}")


def _own_credential(kwargs: dict[str, Any]) -> Any:
    name, password = kwargs.get("username"), kwargs.get("password")
    if kwargs.get("credential_provider") is not None:
        return "(credential provider)"
    return (name, password) if name else password


def _retries(kwargs: dict[str, Any]) -> int:
    """Return how often the client repeats a failed call by itself; negative for ever."""
    retry = kwargs.get("retry")
    if retry is not None:
        return int(retry.get_retries())
    return 1 if kwargs.get("retry_on_error") or kwargs.get("retry_on_timeout") else 0


def build_client(options: Any, *, blocking: bool = False) -> Any:
    """Make a client from a URL or redis-py's keyword arguments; it does not retry by itself, for tether does.

    Args:
        options: ``redis://…``, ``rediss://…``, ``unix://…``, or a mapping.
        blocking: a ``redis.Redis`` instead of a ``redis.asyncio.Redis``.

    Raises:
        ConfigError: the URL or an option cannot work.
        MissingDriver: redis-py is not installed.
    """
    aio = import_redis()
    import redis
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError

    library: Any = redis if blocking else aio
    extra: dict[str, Any] = {"retry": library.retry.Retry(NoBackoff(), 0)}
    try:
        if isinstance(options, str):
            return library.Redis.from_url(options, **extra)
        return library.Redis(**{**extra, **options})
    except (ValueError, TypeError, RedisError) as error:
        if isinstance(options, str):
            shown, mend = redact(options), "write redis://[user:password@]host:port/db"
        else:
            shown, mend = ", ".join(map(str, options)), "use the keywords of redis.asyncio.Redis"
        raise ConfigError(f"options: {shown!r} cannot work: {redact(str(error))}; {mend}") from None
