"""Messages as the kernel's rtnetlink sends them, made by hand."""

from __future__ import annotations

import ipaddress
import struct

RUNNING = 0x40


def _message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def address(text: str, *, gone: bool = False, scope: int = 0, flags: int = 0, index: int = 2) -> bytes:
    """An address of an interface came, or went."""
    ip = ipaddress.ip_address(text)
    head = struct.pack("=BBBBI", 2 if ip.version == 4 else 10, 24, flags, scope, index)
    return _message(21 if gone else 20, head + _attribute(1, ip.packed))


def route(
    gateway: str | None, *, gone: bool = False, bits: int = 0, table: int = 254, kind: int = 1, index: int = 2
) -> bytes:
    """A route to a network of so many bits (0: the default route) came, or went."""
    head = struct.pack("=BBBBBBBBI", 2, bits, 0, 0, table, 3, 0, kind, 0)
    via = b"" if gateway is None else _attribute(5, ipaddress.ip_address(gateway).packed)
    return _message(25 if gone else 24, head + _attribute(4, struct.pack("=I", index)) + via)


def link(index: int, *, running: bool, gone: bool = False) -> bytes:
    """An interface is so now."""
    head = struct.pack("=BxHiII", 0, 1, index, RUNNING if running else 0, 0)
    return _message(17 if gone else 16, head + _attribute(3, b"eth0\x00"))
