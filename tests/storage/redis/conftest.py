"""A real Redis (or Valkey) per test module, and helpers that wait for what is to happen."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator

import pytest

from tether.testing.servers import RedisServer, ServerMissing


@pytest.fixture
def server() -> Iterator[RedisServer]:
    try:
        redis_server = RedisServer()
    except ServerMissing as error:
        if os.environ.get("TETHER_REQUIRE_SERVERS"):
            raise
        pytest.skip(str(error))
    with redis_server:
        yield redis_server


async def until(condition: Callable[[], object], *, within: float = 5.0) -> float:
    """Wait until the condition holds; return the seconds that it took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - what is waited for is outside of the loop
            await asyncio.sleep(0.005)
    return loop.time() - began


def ask(port: int, *commands: str) -> str:
    """Send inline commands on a socket of our own, and return the raw answers: no driver in between."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        raw.sendall("".join(f"{command}\r\n" for command in (*commands, "QUIT")).encode())
        answer = b""
        while chunk := raw.recv(65536):
            answer += chunk
    return answer.decode()
