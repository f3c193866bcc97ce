"""Every place at which a handshake can break."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from tether.testing.proxy.fault_proxy import FaultProxy

__all__ = ["handshake_cuts"]


async def handshake_cuts(proxy: FaultProxy, handshake: Callable[[], Awaitable[object]]) -> AsyncIterator[int]:
    """For each ``k`` from 0 to the length of a handshake: cut the next connection after ``k`` bytes, and yield ``k``.

    The body connects through the proxy and says what must hold; a cut that it has not met is forgotten.

    Args:
        proxy: running, and without faults.
        handshake: connects through the proxy, in the way that is to be broken, and disconnects. It is called
            once, without a fault, to count the bytes that go to the client.

    Raises:
        ValueError: nothing went to the client: there is no handshake to cut.
        Exception: what ``handshake`` raises.
    """
    before = proxy.bytes_downstream
    await handshake()
    length = proxy.bytes_downstream - before
    if length == 0:
        raise ValueError("the handshake brought no byte to the client: did it go through the proxy?")
    for after in range(length + 1):
        proxy.cut(after)
        try:
            yield after
        finally:
            proxy.uncut()
