"""``tether.sync.RedisReconnector`` with a real Redis and a blocking client."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
import redis.asyncio

from tether import IndeterminateError, NotConnected
from tether.backoff import fixed_interval
from tether.errors import ConfigError
from tether.runtime.portal import portal
from tether.sync import RedisReconnector
from tether.testing.servers import RedisServer, ServerMissing

pytestmark = pytest.mark.needs_server


@pytest.fixture
def server() -> Iterator[RedisServer]:
    try:
        redis_server = RedisServer(password="correct-horse")
    except ServerMissing as error:
        if os.environ.get("TETHER_REQUIRE_SERVERS"):
            raise
        pytest.skip(str(error))
    with redis_server:
        yield redis_server


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    eventually(lambda: set(threading.enumerate()) <= before)
    assert portal.loop is None


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def keeper(client: redis.Redis | None, options: Any = None) -> RedisReconnector:
    return RedisReconnector(
        client,
        options,
        name="cache",
        max_retries=None,
        retry_interval=fixed_interval(0.05),
        health_check_interval=0.1,
        health_check_timeout=0.2,
        stable_after=0.1,
    )


def test_a_kill(server: RedisServer) -> None:
    client = redis.Redis.from_url(server.url, retry=None)
    with keeper(client) as made:
        assert made.run(lambda c: c.set("k", "v"))
        before = {id(one) for one in client.connection_pool._available_connections}
        assert before
        server.kill()
        eventually(lambda: not made.is_connected)
        with pytest.raises(NotConnected):
            made.run(lambda c: c.get("k"))
        server.start()
        assert made.run(lambda c: c.ping(), timeout=10)
        with made.guard() as cache:
            assert cache.incr("n") == 1
    assert client.ping()  # still the user's own
    client.close()


def test_a_freeze_is_noticed_while_the_caller_blocks(server: RedisServer) -> None:
    client = redis.Redis.from_url(server.url, socket_timeout=30, retry=None)
    with keeper(client) as made, ThreadPoolExecutor(1) as pool:
        made.run(lambda c: c.ping())
        server.freeze()
        call = pool.submit(made.run, lambda c: c.incr("n"))
        eventually(lambda: not made.is_connected)
        server.kill()  # frees the blocked call
        with pytest.raises((IndeterminateError, redis.ConnectionError)):
            call.result(10)
        server.start()
        made.wait_connected(timeout=10)
    client.close()


def test_no_connection_of_before_the_loss_is_handed_out_again(server: RedisServer) -> None:
    client = redis.Redis.from_url(server.url, retry=None)
    with keeper(client) as made:
        busy = [client.connection_pool.get_connection() for _ in range(4)]
        old = {one.client_id for one in busy if hasattr(one, "client_id")}
        assert made.reconnect()
        for one in busy:
            client.connection_pool.release(one)
        assert all(one._sock is None for one in busy)  # closed when they were given back
        assert made.run(lambda c: c.ping())
        assert len(old) in {0, 4}
    client.close()


def test_eight_threads_through_two_kills(server: RedisServer) -> None:
    client = redis.Redis.from_url(server.url, retry=None)
    done = threading.Event()
    counts = {"good": 0, "bad": 0}
    lock = threading.Lock()

    def work(made: RedisReconnector) -> None:
        while not done.is_set():
            try:
                made.run(lambda c: c.incr("n"), timeout=10)
                what = "good"
            except (IndeterminateError, redis.ConnectionError):
                what = "bad"
            with lock:
                counts[what] += 1

    with keeper(client) as made, ThreadPoolExecutor(8) as pool:
        workers = [pool.submit(work, made) for _ in range(8)]
        for _ in range(2):
            time.sleep(0.2)
            server.kill()
            eventually(lambda: not made.is_connected)
            server.start()
            made.wait_connected(timeout=10)
        seen = counts["good"]
        eventually(lambda: counts["good"] > seen + 100)
        done.set()
        for worker in workers:
            worker.result(15)
        assert made.stats().losses == 2
    client.close()


def test_subscriptions_survive(server: RedisServer) -> None:
    got: list[Any] = []
    made = keeper(None, server.url)
    subscription = made.subscribe("news", handler=lambda message: got.append(message["data"]))
    with made:
        made.run(lambda c: c.publish("news", "one"))
        eventually(lambda: got == [b"one"])
        server.kill()
        eventually(lambda: not made.is_connected)
        server.start()
        made.wait_connected(timeout=10)
        made.run(lambda c: c.publish("news", "two"))
        eventually(lambda: got == [b"one", b"two"])
        subscription.unsubscribe()
        made.run(lambda c: c.publish("news", "three"))
    assert got == [b"one", b"two"]


def test_a_wrong_password_is_tried_twice(server: RedisServer) -> None:
    with keeper(redis.Redis(port=server.port, password="wrong-password")) as made:
        eventually(lambda: made.status == "failed")
        assert made.stats().failed_attempts == 2
        assert "wrong-password" not in repr(made) + str(made.last_error)


def test_the_wrong_kind_of_client_is_refused() -> None:
    with pytest.raises(ConfigError, match="this is an asyncio client"):
        RedisReconnector(redis.asyncio.Redis())
    with pytest.raises(ConfigError, match=r"give a redis\.Redis"):
        RedisReconnector()
