"""A user's redis-py pool in a forked child.

redis-py's asyncio pool does not look at the process it is in: it would hand out the parent's connections, and two
processes would read each other's replies. Its locks belong to the parent's loop, and may be held for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any

from tether.runtime.fork import let_go


def leave_connections(connections: list[Any]) -> object:
    """Let go of the sockets of redis-py's connections, without a goodbye. Returns what has to be kept."""
    writers = [getattr(connection, "_writer", None) for connection in connections]
    let_go([_descriptor(writer) for writer in writers if writer is not None])
    for connection in connections:
        connection._reader = connection._writer = None  # noqa: SLF001 - or its end would close them, aloud
    return connections, writers


def leave_pool(client: Any) -> object:
    """Empty the pool of a ``redis.asyncio.Redis``: new connections are this process's own.

    Returns:
        What has to be kept.
    """
    pool = client.connection_pool
    connections = [*getattr(pool, "_available_connections", ()), *getattr(pool, "_in_use_connections", ())]
    if getattr(client, "connection", None) is not None:  # made with single_connection_client
        connections.append(client.connection)
        client.connection = None
    left = leave_connections(connections)
    pool.reset()
    for owner, name, kind in (
        (pool, "_lock", asyncio.Lock),
        (pool, "_condition", asyncio.Condition),
        (client, "_single_conn_lock", asyncio.Lock),
    ):
        if hasattr(owner, name):
            setattr(owner, name, kind())
    return left


def _descriptor(writer: asyncio.StreamWriter) -> int:
    sock = writer.get_extra_info("socket")
    return -1 if sock is None else int(sock.fileno())
