"""Fixtures for pytest: a fault proxy, a real Redis, a free port, a blackhole.

pytest finds them by the entry point ``pytest11``. They work for plain tests and for async ones: the proxy runs on a
thread of its own. Nothing but pytest is needed.
"""

from __future__ import annotations

import contextlib
import os
import urllib.parse
from collections.abc import Iterator
from typing import Any, Protocol

import pytest

from tether.testing.blackhole import Blackhole, BlackholeUnavailable
from tether.testing.proxy import FaultProxy
from tether.testing.servers import RedisServer, ServerMissing
from tether.testing.tcp import free_port as find_free_port

__all__ = ["StartProxy", "blackhole", "fault_proxy", "free_port", "redis_server"]


class StartProxy(Protocol):
    """What the fixture ``fault_proxy`` gives."""

    def __call__(self, upstream: object, **options: Any) -> FaultProxy:
        """Start a proxy that ends with the test.

        Args:
            upstream: a port of 127.0.0.1, ``"host:port"``, a URL with a port, ``(host, port)``, or a server of
                ``tether.testing``.
            options: as in ``FaultProxy``.

        Raises:
            ValueError: there is no port in ``upstream``.
            OSError: the proxy cannot listen.
        """


@pytest.fixture
def fault_proxy() -> Iterator[StartProxy]:
    """Start a fault proxy with ``fault_proxy(upstream)``, as often as wanted; all of them end with the test."""
    with contextlib.ExitStack() as running:

        def start(upstream: object, **options: Any) -> FaultProxy:
            return running.enter_context(FaultProxy(*_address(upstream), **options))

        yield start


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A real Redis (or Valkey) of the test's own, empty, to kill, freeze and restart.

    The test is skipped where none is installed; with ``TETHER_REQUIRE_SERVERS=1`` it fails.
    """
    try:
        server = RedisServer()
    except ServerMissing as error:
        if os.environ.get("TETHER_REQUIRE_SERVERS"):
            raise
        pytest.skip(str(error))
    with server:
        yield server


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now: dialling it is refused."""
    return find_free_port()


@pytest.fixture
def blackhole() -> Iterator[Blackhole]:
    """Two network namespaces with a wire that swallows packets; the test is skipped where there can be none."""
    with contextlib.ExitStack() as wired:
        try:
            hole = wired.enter_context(Blackhole())
        except BlackholeUnavailable as reason:
            pytest.skip(str(reason))
        yield hole


def _address(upstream: object) -> tuple[str, int]:
    if isinstance(upstream, tuple):
        host, port = upstream
        return str(host), int(port)
    if isinstance(upstream, int):
        return "127.0.0.1", upstream
    text = str(getattr(upstream, "url", upstream))
    parts = urllib.parse.urlsplit(text if "://" in text else f"//{text}")
    if parts.port is None:
        raise ValueError(f"{text!r} names no port to carry connections to")
    return parts.hostname or "127.0.0.1", parts.port
