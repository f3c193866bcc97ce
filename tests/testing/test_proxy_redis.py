"""A real Redis behind the proxy, and our own reconnector before it: every fault has its cause, and heals."""

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from tether.backoff import fixed_interval
from tether.storage import RedisReconnector
from tether.testing.proxy import (
    Bandwidth,
    FaultProxy,
    Latency,
    LimitData,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
    handshake_cuts,
)
from tether.testing.servers import RedisServer, ServerMissing

pytestmark = pytest.mark.needs_server

HOST = "127.0.0.1"
SOON = 10.0  # real seconds: generous, nothing is measured


@pytest.fixture(scope="module")
def server():
    try:
        redis_server = RedisServer(password="hunter2")
    except ServerMissing as error:
        if os.environ.get("TETHER_REQUIRE_SERVERS"):
            raise
        pytest.skip(str(error))
    with redis_server:
        yield redis_server


def keeper(proxy, *, patience=0.15):
    seen = []
    cache = RedisReconnector(
        None,
        f"redis://:hunter2@{HOST}:{proxy.port}/0",
        max_retries=None,
        retry_interval=fixed_interval(0.02),
        connect_timeout=0.4,
        health_check_interval=0.05,
        health_check_timeout=patience,
        subscribers=[seen.append],
    )
    return cache, seen


async def until(condition):
    async with asyncio.timeout(SOON):
        while not condition():  # noqa: ASYNC110 - what is waited for is outside of the loop
            await asyncio.sleep(0.005)


def causes(seen):
    return {event.cause.code for event in seen if event.cause is not None}


def play(server, scene):
    """Run a scene with a proxy before the server; afterwards no task and no socket is left."""

    async def main():
        async with FaultProxy(HOST, server.port, seed=1) as proxy:
            await scene(proxy)
            await until(lambda: proxy.open_connections == 0)
        mine = asyncio.current_task()
        await until(lambda: [task for task in asyncio.all_tasks() if task is not mine] == [])

    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 0
    asyncio.run(main())
    if before:
        assert len(list(Path("/proc/self/fd").iterdir())) <= before


@contextlib.asynccontextmanager
async def connected(proxy, **options):
    cache, seen = keeper(proxy, **options)
    async with cache:
        await cache.wait_connected(SOON)
        yield cache, seen


async def ping(cache):
    return await cache.run(lambda client: client.ping(), timeout=SOON)


BREAKING = [
    pytest.param(lambda proxy: proxy.down(), {"eof", "refused"}, id="down"),
    pytest.param(lambda proxy: proxy.reset_all(), {"reset"}, id="reset all"),
    pytest.param(lambda proxy: proxy.close_all(), {"eof"}, id="close all"),
    pytest.param(lambda proxy: proxy.freeze(), {"timeout"}, id="freeze"),
    pytest.param(lambda proxy: proxy.mute(), {"timeout"}, id="mute"),
    pytest.param(lambda proxy: proxy.add(Latency(30.0)), {"timeout"}, id="latency"),
    pytest.param(lambda proxy: proxy.add(Bandwidth(0)), {"timeout"}, id="bandwidth downstream"),
    pytest.param(
        lambda proxy: proxy.add(Bandwidth(0), stream="upstream"), {"timeout"}, id="bandwidth upstream"
    ),
    pytest.param(lambda proxy: proxy.add(Timeout()), {"timeout"}, id="timeout 0"),
    pytest.param(lambda proxy: proxy.add(Timeout(0.05)), {"eof"}, id="timeout"),
    pytest.param(lambda proxy: proxy.add(ResetPeer()), {"reset"}, id="reset_peer"),
    pytest.param(lambda proxy: proxy.add(LimitData(3)), {"eof"}, id="limit_data"),
    pytest.param(lambda proxy: proxy.add(Slicer(1, delay=5.0)), {"timeout"}, id="slicer"),
]


@pytest.mark.parametrize(("hurt", "expected"), BREAKING)
def test_each_fault_has_its_cause_and_heals(server, hurt, expected):
    async def scene(proxy):
        async with connected(proxy) as (cache, seen):
            hurt(proxy)
            await until(lambda: expected <= causes(seen))
            first = next(event.cause.code for event in seen if event.cause is not None)
            assert first in expected
            proxy.heal()
            proxy.reset_all()
            await until(lambda: cache.is_connected)
            assert await ping(cache) is True
            assert {event.cause.recovery.value for event in seen if event.cause is not None} == {"backoff"}

    play(server, scene)


@pytest.mark.parametrize(
    "toxic",
    [Latency(0.02, 0.01), Bandwidth(20_000), SlowClose(0.2), Slicer(3, 2, 0.0005)],
    ids=lambda toxic: toxic.type,
)
def test_what_only_slows_is_no_loss(server, toxic):
    async def scene(proxy):
        async with connected(proxy, patience=5.0) as (cache, seen):
            for stream in ("upstream", "downstream"):
                proxy.add(toxic, stream=stream)
            before = proxy.bytes_downstream
            assert await cache.run(lambda client: client.set("key", "x" * 300), timeout=SOON) is True
            assert await cache.run(lambda client: client.get("key"), timeout=SOON) == b"x" * 300
            await until(lambda: proxy.bytes_downstream > before + 500)  # probes, too
            assert causes(seen) == set()

    play(server, scene)


async def comes_back(proxy, after):
    """Connect with a cut ahead: it must be met, and be over soon."""
    cache, seen = keeper(proxy)
    async with cache:
        # The last byte may end the handshake: then the loss comes when it is connected already.
        await until(lambda: causes(seen))
        await cache.wait_connected(SOON)
        assert await ping(cache) is True
        assert causes(seen) <= {"reset", "eof"}
    await until(lambda: proxy.open_connections == 0)
    return after


def test_a_reconnect_survives_a_cut_at_every_byte_of_the_handshake(server):
    async def scene(proxy):
        async def handshake():
            async with connected(proxy):
                pass
            await until(lambda: proxy.open_connections == 0)

        tried = [await comes_back(proxy, after) async for after in handshake_cuts(proxy, handshake)]
        assert tried == list(range(len(tried)))
        assert len(tried) > 10

    play(server, scene)


def test_a_wrong_answer_is_never_taken_for_a_right_one_in_the_middle_of_a_cut(server):
    async def scene(proxy):
        async with connected(proxy) as (cache, _):
            await cache.run(lambda client: client.set("key", "right"), timeout=SOON)
            for after in range(0, 200, 20):
                proxy.reset_all()
                proxy.cut(after, connections=2)
                assert (
                    await cache.run(lambda client: client.get("key"), idempotent=True, timeout=SOON)
                    == b"right"
                )
            proxy.uncut()

    play(server, scene)
