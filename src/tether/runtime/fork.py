"""What a forked child does with the connections it was born with: it lets go of them, and the parent notices nothing.

Parent and child share each socket, and the poller in which the parent's loop has it registered. So the child must not
close a transport (asyncio would take the socket out of the parent's poller too), nor shut a socket down, nor say
anything on it. Its copy of each descriptor is replaced by one of the null device: the socket is closed here and nowhere
else, the number is not used again under a transport that still knows it, and whatever is done with it has no effect.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable
from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    """What has to know that it is in another process now."""

    def leave_to_parent(self) -> object:
        """In a forked child: forget what belongs to the parent, without a call to it, an event or a log line.

        Returns:
            All that was forgotten. It is kept for the child's whole life: destroyed, it would clean up after itself.
        """


_members: WeakSet[Forked] = WeakSet()
_sockets: WeakSet[socket.socket] = WeakSet()
_left: list[object] = []


def remember(member: Forked) -> None:
    """Have ``member`` told in a forked child. It is not kept alive by this."""
    _members.add(member)


def remember_socket(sock: socket.socket) -> None:
    """Have a socket of tether's own let go of in a forked child. It is not kept alive by this."""
    _sockets.add(sock)


def let_go(descriptors: Iterable[int]) -> None:
    """Close this process's copies of some descriptors, without a goodbye; the numbers stay taken. -1 is left out."""
    null = os.open(os.devnull, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
    try:
        for descriptor in descriptors:
            if descriptor >= 0:
                os.dup2(null, descriptor, inheritable=False)
    finally:
        os.close(null)


def _in_child() -> None:
    """Leave it all to the parent. One member that fails must not keep the others on the parent's sockets."""
    with contextlib.suppress(OSError):
        let_go([sock.fileno() for sock in tuple(_sockets)])
    _sockets.clear()
    for member in tuple(_members):
        with contextlib.suppress(Exception):
            _left.append(member.leave_to_parent())


if hasattr(os, "register_at_fork"):  # elsewhere nothing forks
    os.register_at_fork(after_in_child=_in_child)
