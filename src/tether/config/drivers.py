"""From settings to reconnectors. Nothing is connected here: no I/O, and no event loop is needed."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tether.config.building import place
from tether.config.models import RedisSettings, Settings
from tether.config.node import Node, Path, dotted
from tether.config.problem import GUESSES, Flaw, key_text, near
from tether.errors import ConfigError, MissingDriver
from tether.ports import Subscriber
from tether.runtime.reconnector import Reconnector
from tether.storage import RedisReconnector
from tether.storage.redis.connector import import_redis

_OURS = {
    "retry": "tether repeats by itself; set max_retries and retry of the connection",
    "retry_on_error": "tether repeats by itself; set max_retries and retry of the connection",
    "retry_on_timeout": "tether repeats by itself; set max_retries and retry of the connection",
    "health_check_interval": "tether probes by itself; set health_check_interval of the connection",
    "url": "set url of the connection",
    "ssl": "write rediss:// in the url of the connection",
    "unix_socket_path": "write unix:///path in the url of the connection",
    **dict.fromkeys(
        (
            "auto_close_connection_pool",
            "connection_class",
            "connection_pool",
            "credential_provider",
            "driver_info",
            "encoder_class",
            "event_dispatcher",
            "maint_notifications_config",
            "parser_class",
            "redis_connect_func",
            "single_connection_client",
        ),
        "it wants an object of Python; leave it out",
    ),
}
"""Options that a file cannot set, and what to do instead."""


def make_reconnector(
    name: str, settings: RedisSettings, *, subscribers: Sequence[Subscriber] = ()
) -> Reconnector[Any]:
    """Return the reconnector that ``settings`` describe, not started.

    Raises:
        ConfigError: the driver refuses the URL or an option.
        MissingDriver: the driver is not installed.
    """
    return RedisReconnector(
        _client(settings.url, settings.options),
        name=name,
        max_retries=settings.max_retries,
        retry_interval=settings.retry.backoff(),
        connect_timeout=settings.connect_timeout,
        stable_after=settings.stable_after,
        health_check=settings.health_check,
        health_check_interval=settings.health_check_interval,
        health_check_timeout=settings.health_check_timeout,
        failure_threshold=settings.failure_threshold,
        subscribers=subscribers,
    )


def _client(url: str, options: Mapping[str, Any]) -> Any:
    """Return a client that does not retry by itself, for tether does. It opens nothing until it is used.

    Raises:
        ConfigError: redis-py refuses the URL or an option. Its own words are left out: they hold what it was given.
        MissingDriver: redis-py is not installed.
    """
    aio = import_redis()
    from redis.backoff import NoBackoff

    retry = aio.retry.Retry(NoBackoff(), 0)
    try:
        client = aio.Redis.from_url(url, **{"retry": retry, **_converted(aio, options)})
        pool = client.connection_pool
        # The pool takes anything; it is the connection that knows its arguments. Made, and never opened.
        pool.connection_class(**pool.connection_kwargs)
    except Exception:  # noqa: BLE001 - whatever redis-py raises, it refuses
        raise ConfigError("redis-py refuses the url or an option") from None
    return client


def _converted(aio: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with text, which is what a variable leaves, as what redis-py makes of text in a URL."""
    parsers = aio.connection.URL_QUERY_ARGUMENT_PARSERS
    return {
        key: parsers[key](value) if key in parsers and isinstance(value, str) else value
        for key, value in options.items()
    }


# --- the last stage -------------------------------------------------------------------------------------------------


def check_drivers(settings: Settings, root: Node, unjudged: set[Path]) -> list[Flaw]:
    """Return what the drivers refuse. A driver that is not installed refuses nothing."""
    found: list[tuple[Path, str]] = []
    for name, connection in settings.connections.items():
        path: Path = ("connections", name)
        if not any(one[:2] == path for one in unjudged):
            found += [((*path, *below), message) for below, message in _refused(name, connection)]
    return [
        Flaw(message, dotted(root, path), place(root, path, on_key="options" in path))
        for path, message in found
    ]


def missing_drivers(settings: Settings) -> tuple[str, ...]:
    """Return a note for each driver that the connections need and that is not installed."""
    if not settings.connections:
        return ()
    try:
        import_redis()
    except MissingDriver as error:
        return (str(error),)
    return ()


def _refused(name: str, settings: RedisSettings) -> Iterator[tuple[Path, str]]:
    ours = {key: mend for key, mend in _OURS.items() if key in settings.options}
    if ours:
        yield from ((("options", key), f"cannot be set here: {mend}") for key, mend in ours.items())
        return
    try:
        make_reconnector(name, settings)
    except MissingDriver:
        return
    except ConfigError:
        yield from _culprits(settings)


def _culprits(settings: RedisSettings) -> list[tuple[Path, str]]:
    """Return which of the URL and the options is refused, by trying each alone."""
    if not _is_accepted(settings.url, {}):
        return [
            (("url",), "redis-py refuses it; are the arguments behind its '?' those of redis-py's client?")
        ]
    known = _known_options(settings.url)
    bad = [
        key
        for key, value in settings.options.items()
        if key not in known or not _is_accepted(settings.url, {key: value})
    ]
    told: list[tuple[Path, str]] = [
        (("options", key), _told(key, known, may_guess=at < GUESSES)) for at, key in enumerate(bad)
    ]
    return told or [(("options",), "redis-py refuses them together; see redis.asyncio.Redis.from_url")]


def _is_accepted(url: str, options: Mapping[str, Any]) -> bool:
    try:
        _client(url, options)
    except ConfigError:
        return False
    return True


def _told(key: str, known: set[str], *, may_guess: bool) -> str:
    if key in known:
        return "redis-py refuses this value; see redis.asyncio.Redis.from_url"
    guess = near(key, known) if may_guess else None
    mend = f"did you mean {guess}?" if guess else "see the arguments of redis.asyncio.Redis.from_url"
    return f"redis-py has no option {key_text(key)}; {mend}"


def _known_options(url: str) -> set[str]:
    """Return the names of the arguments that redis-py's pool and connection take."""
    pool = _client(url, {}).connection_pool
    classes = (*pool.connection_class.__mro__, *type(pool).__mro__)
    made = [inspect.signature(one.__init__) for one in classes if one is not object]
    return {name for signature in made for name in signature.parameters} - {"self", "kwargs", *_OURS}
