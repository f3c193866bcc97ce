"""What the benchmarks with a real Redis share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tether.testing.servers import RedisServer
from tether.testing.tcp import HOST


def without_retries(port: int, *, health_check_interval: int = 0) -> Redis:
    """Return a client that raises the first error."""
    retry = Retry(NoBackoff(), 0)
    return Redis(host=HOST, port=port, retry=retry, health_check_interval=health_check_interval)


@asynccontextmanager
async def running_server() -> AsyncIterator[tuple[RedisServer, str]]:
    """Have a Redis (or Valkey) server run; yields it and its name and version."""
    server = RedisServer()
    try:
        await asyncio.to_thread(server.start)
        async with without_retries(server.port) as client:
            info = await client.info("server")
        name = info.get("server_name") or "redis"
        yield server, f"{name} {info.get('valkey_version') or info['redis_version']}"
    finally:
        server.close()
