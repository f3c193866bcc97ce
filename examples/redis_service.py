"""A small service that uses redis-py. The three lines marked with + are all that tether adds."""

import asyncio
import os

import redis.asyncio as redis

from tether.storage import RedisReconnector  # +

cache = redis.from_url(os.environ.get("REDIS_URL", "redis://localhost:6379/0"))
keeper = RedisReconnector(cache, name="cache", max_retries=None)  # +


async def serve() -> None:
    while True:
        try:
            print("visits:", await cache.incr("visits"), flush=True)
        except redis.RedisError as error:
            print("no visits now:", error, flush=True)
        await asyncio.sleep(1)


async def main() -> None:
    async with keeper:  # +
        await serve()


if __name__ == "__main__":
    asyncio.run(main())
