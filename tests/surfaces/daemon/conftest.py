"""A real Redis for ``tether run``."""

import os
from collections.abc import Iterator

import pytest

from tether.testing.servers import RedisServer, ServerMissing


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that was started once, so that it has a port, and is down."""
    try:
        redis_server = RedisServer(password="correct-horse-battery")
    except ServerMissing as error:
        if os.environ.get("TETHER_REQUIRE_SERVERS"):
            raise
        pytest.skip(str(error))
    with redis_server:
        redis_server.kill()
        yield redis_server
