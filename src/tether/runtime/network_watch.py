"""What the kernel tells about this host's uplinks (Linux, rtnetlink): an address or a default route came, or went.

No privilege is needed. Where there is none of it (another system, a sandbox), ``open_socket`` says so by ``None``.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from collections.abc import Hashable, Iterable, Iterator
from enum import Enum

_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE."""

_NEWLINK, _DELLINK, _NEWADDR, _DELADDR, _NEWROUTE, _DELROUTE = 16, 17, 20, 21, 24, 25
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, sender
_LINK = struct.Struct("=BxHiII")  # family, kind of device, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
_ROUTE = struct.Struct(
    "=BBBBBBBBI"
)  # family, length of destination, of source, tos, table, protocol, scope, type, flags
_ATTRIBUTE = struct.Struct("=HH")  # length, type

_IFF_RUNNING = 0x40
_TENTATIVE = 0x40
_SCOPE_LINK = 253
"""This scope and those above it lead nowhere else."""
_TABLE_LOCAL, _UNICAST = 255, 1
_IFA_ADDRESS, _IFA_LOCAL, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY = 1, 2, 4, 5, 6

_Fact = tuple[int, Hashable]
"""The index of an interface, and what leads out by it."""


class Uplink(Enum):
    """What happened to this host's ways out."""

    GAINED = "gained"
    LOST = "lost"


class Uplinks:
    """Tells news from noise: what is announced again (as IPv6 does, all the time) is none.

    Args:
        links: indexes of the interfaces that are there already; they are taken to be up.
    """

    __slots__ = ("_known", "_running")

    def __init__(self, links: Iterable[int] = ()) -> None:
        self._running = dict.fromkeys(links, True)
        self._known: set[_Fact] = set()

    def read(self, datagram: bytes) -> set[Uplink]:
        """Return what the messages of one datagram mean; what cannot be read means nothing."""
        found = set()
        for kind, body in _messages(datagram):
            with contextlib.suppress(struct.error):  # cut off
                found.add(self._news(kind, body))
        return {news for news in found if news is not None}

    def _news(self, kind: int, body: bytes) -> Uplink | None:
        if kind in {_NEWLINK, _DELLINK}:
            return self._link(body, gone=kind == _DELLINK)
        if kind in {_NEWADDR, _DELADDR}:
            return self._change(_address(body), gone=kind == _DELADDR)
        if kind in {_NEWROUTE, _DELROUTE}:
            return self._change(_default_route(body), gone=kind == _DELROUTE)
        return None

    def _link(self, body: bytes, *, gone: bool) -> Uplink | None:
        _, _, index, flags, _ = _LINK.unpack_from(body)
        running = bool(flags & _IFF_RUNNING) and not gone
        before = self._running.get(index)
        if gone:
            self._running.pop(index, None)
        else:
            self._running[index] = running
        if not running:
            self._forget(index)
        if before is None or before is running:  # a new interface leads nowhere before it has an address
            return None
        return Uplink.GAINED if running else Uplink.LOST

    def _change(self, fact: _Fact | None, *, gone: bool) -> Uplink | None:
        if fact is None:
            return None
        if gone:
            self._forget(fact[0])
            return Uplink.LOST
        if fact in self._known:
            return None
        self._known.add(fact)
        return Uplink.GAINED

    def _forget(self, index: int) -> None:
        """Forget what led out by one interface: the routes that go with an address or a link go untold."""
        self._known = {fact for fact in self._known if fact[0] != index}


def _messages(datagram: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the body of each message."""
    while len(datagram) >= _HEADER.size:
        length, kind, _, _, _ = _HEADER.unpack_from(datagram)
        if length < _HEADER.size:
            return
        yield kind, datagram[_HEADER.size : length]
        datagram = datagram[_aligned(length) :]


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            break
        found[kind] = data[_ATTRIBUTE.size : length]
        data = data[_aligned(length) :]
    return found


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def _address(body: bytes) -> _Fact | None:
    """Return an address that leads out of this host and is ready; ``None`` for others."""
    family, prefix, flags, scope, index = _ADDRESS.unpack_from(body)
    if scope >= _SCOPE_LINK or flags & _TENTATIVE:
        return None
    attributes = _attributes(body[_ADDRESS.size :])
    return index, (family, prefix, attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS)))


def _default_route(body: bytes) -> _Fact | None:
    family, destination, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(body)
    if destination or table == _TABLE_LOCAL or kind != _UNICAST:
        return None
    attributes = _attributes(body[_ROUTE.size :])
    index = int.from_bytes(attributes.get(_RTA_OIF, b""), sys.byteorder)
    return index, (family, table, attributes.get(_RTA_GATEWAY), attributes.get(_RTA_PRIORITY))


def open_socket() -> socket.socket | None:
    """Return a socket on which the kernel tells of changes, or ``None`` where it does not."""
    if sys.platform != "linux":
        return None
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    except OSError:  # a sandbox
        return None
    try:
        sock.bind((0, _GROUPS))
    except OSError:
        sock.close()
        return None
    return sock


def existing_links() -> tuple[int, ...]:
    """Return the indexes of this host's interfaces."""
    try:
        return tuple(index for index, _ in socket.if_nameindex())
    except OSError:
        return ()
