"""A real server, and a host that stalls, sleeps or changes its network under the client."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
import redis.asyncio as aio

from tests.runtime import netlink
from tests.runtime.forking import Runner, run_uvloop
from tests.runtime.support import Notes
from tests.runtime.test_host_watch import FakeHost
from tests.storage.redis.conftest import until
from tether import Status
from tether.backoff import fixed_interval
from tether.core.events import Kind
from tether.storage import RedisReconnector
from tether.testing.servers import RedisServer

pytestmark = pytest.mark.needs_server

ON_BOTH_LOOPS = pytest.mark.parametrize("run", [asyncio.run, run_uvloop])


def supervised(server: RedisServer, **options: Any) -> tuple[Any, RedisReconnector]:
    client = aio.Redis(port=server.port)
    return client, RedisReconnector(client, retry_interval=fixed_interval(300), **options)


@ON_BOTH_LOOPS
def test_a_loop_that_is_blocked_for_longer_than_the_timeout_is_no_loss(
    server: RedisServer, run: Runner
) -> None:
    """A probe is under way when our own code blocks; its answer comes in time, and we are too late to see it."""

    async def main() -> None:
        notes = Notes()
        client, r = supervised(
            server, health_check_interval=0.2, health_check_timeout=0.3, subscribers=[notes]
        )
        async with r:
            for _ in range(3):
                server.freeze()
                await until(lambda: r._engine.watcher._probe is not None)
                threading.Timer(0.05, server.thaw).start()
                time.sleep(0.8)  # noqa: ASYNC251 - the stall
                await asyncio.sleep(0.4)
            assert (r.stats().losses, r.stats().probes_failed, r.generation) == (0, 0, 1)
            assert r.stats().stalls >= 3
            assert max(event.elapsed or 0 for event in notes.of(Kind.STALLED)) > 0.5
            assert notes.of(Kind.HOST_RESUMED) == []  # a stall is no sleep
        await client.aclose()

    run(main())


@ON_BOTH_LOOPS
@pytest.mark.parametrize("news", ["awake", "network"])
def test_good_news_ends_a_five_minute_sleep(server: RedisServer, run: Runner, news: str) -> None:
    async def main() -> None:
        host = FakeHost()
        client, r = supervised(server, health_check=False)
        server.kill()
        async with r:
            assert r.status is Status.CONNECTING
            server.restart()
            if news == "awake":
                host.asleep = 60.0
            else:
                host.tell(netlink.route("192.0.2.1"))
            await r.wait_connected(2)
        await client.aclose()
        host.close()

    run(main())


@ON_BOTH_LOOPS
def test_a_server_that_gave_us_up_while_we_slept_is_found_out_at_once(
    server: RedisServer, run: Runner
) -> None:
    async def main() -> None:
        host = FakeHost()
        client, r = supervised(server, health_check_interval=300, health_check_timeout=0.3)
        async with r:
            await asyncio.sleep(0.05)
            server.freeze()
            host.asleep = 3600.0
            await until(lambda: not r.is_connected, within=2)
            server.thaw()
            r.network_changed()
            await r.wait_connected(2)
        await client.aclose()
        host.close()

    run(main())
