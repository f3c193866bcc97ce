"""From a name to a connected stream: fresh lookup, every address tried, the fastest wins.

Happy Eyeballs as in RFC 8305: families interleaved, the next address starts after 250 ms or at once when one fails.
asyncio has this too, but not on every event loop (uvloop), and it does not say which phase failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl as _ssl
import sys
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any, NamedTuple, TypeAlias

from tether.core.cause import Phase
from tether.ports import Attempt
from tether.runtime.fork import remember_socket

STAGGER = 0.25
"""Seconds between the starts of two addresses ('Connection Attempt Delay', RFC 8305, section 8)."""

KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT = 15, 5, 3
USER_TIMEOUT_MS = 30_000
"""Kernel help against dead paths: an idle one is noticed after some 30 s, one with unsent data too. A wedged peer still
acknowledges, so this never replaces a probe."""

Stream: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Address(NamedTuple):
    """One result of a lookup."""

    family: int
    sockaddr: tuple[Any, ...]

    def __str__(self) -> str:
        host, port = self.sockaddr[:2]
        return f"[{host}]:{port}" if self.family == socket.AF_INET6 else f"{host}:{port}"


async def resolve(host: str, port: int) -> list[Address]:
    """Look ``host`` up, anew, off the loop's thread; families interleaved, in the resolver's order.

    Raises:
        OSError: ``socket.gaierror``, or no address at all.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(Address(family, sockaddr) for family, _, _, _, sockaddr in found))
    if not addresses:
        raise OSError(errno.EADDRNOTAVAIL, f"{host} has no address")
    first = addresses[0].family
    same = [a for a in addresses if a.family == first]
    other = [a for a in addresses if a.family != first]
    return [a for a in chain.from_iterable(zip_longest(same, other)) if a is not None]


async def open_stream(
    host: str,
    port: int,
    attempt: Attempt,
    *,
    ssl: _ssl.SSLContext | None = None,
    server_hostname: str | None = None,
) -> Stream:
    """Resolve ``host``, race its addresses, and return a connected stream; sets ``attempt.phase`` on the way.

    It has no deadline of its own: the attempt's covers it. When cancelled it leaves no socket behind.

    Raises:
        OSError: the lookup failed, or no address answered (the most telling error; the others' are its cause).
    """
    attempt.phase = Phase.DNS
    addresses = await resolve(host, port)
    attempt.phase = Phase.TCP
    sock = await race(addresses)
    try:
        _tune(sock)
        if ssl is None:
            return await asyncio.open_connection(sock=sock)
        attempt.phase = Phase.TLS
        return await asyncio.open_connection(sock=sock, ssl=ssl, server_hostname=server_hostname or host)
    except BaseException:
        sock.close()
        raise


async def race(addresses: Sequence[Address], *, stagger: float = STAGGER) -> socket.socket:
    """Connect to the first address that answers.

    Args:
        addresses: in the order to try them.
        stagger: seconds before the next one starts while the earlier ones have not answered.

    Raises:
        OSError: none answered: the most telling error; ``__cause__`` is a group with the others'.
    """
    errors: list[OSError] = []
    running: set[asyncio.Task[socket.socket]] = set()
    waiting = list(addresses)
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.create_task(_connect(waiting.pop(0))))
            done, running = await asyncio.wait(
                running, timeout=stagger if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            winner = _winner(done, errors)
            if winner is not None:
                return winner
    finally:
        _cancel_all(running)
    raise _total_failure(errors)


def _winner(done: set[asyncio.Task[socket.socket]], errors: list[OSError]) -> socket.socket | None:
    """Return one connected socket of ``done``, close the others, and collect the errors."""
    failures = [error for task in done if (error := task.exception()) is not None]
    sockets = [task.result() for task in done if task.exception() is None]
    odd = next((error for error in failures if not isinstance(error, OSError)), None)
    errors += [error for error in failures if isinstance(error, OSError)]
    for sock in sockets if odd is not None else sockets[1:]:
        sock.close()
    if odd is not None:
        raise odd
    return sockets[0] if sockets else None


def _cancel_all(tasks: set[asyncio.Task[socket.socket]]) -> None:
    """Cancel the losers; one that connected in the same moment is closed."""
    for task in tasks:
        task.cancel()
        task.add_done_callback(_close_late)


def _close_late(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _connect(address: Address) -> socket.socket:
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    remember_socket(sock)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address.sockaddr)
    except OSError as error:
        sock.close()
        raise type(error)(error.errno, f"{error.strerror or error} ({address})") from None
    except BaseException:
        sock.close()
        raise
    return sock


def _total_failure(errors: list[OSError]) -> OSError:
    """Return the most telling of the errors: a host that answered 'refused' tells more than one that was silent."""
    best = min(errors, key=lambda error: error.errno != errno.ECONNREFUSED)
    others = [error for error in errors if error is not best]
    if others:
        best.__cause__ = ExceptionGroup("the other addresses failed too", others)
    return best


def _tune(sock: socket.socket) -> None:
    """Have the kernel notice dead paths, where it can."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_COUNT)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
