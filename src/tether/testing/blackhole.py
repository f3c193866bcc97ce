"""A true blackhole: packets vanish both ways, of connections that are open and of those that are dialled.

Here: two network namespaces of Linux, joined by one wire that can be told to swallow everything.
Not here: peers that hang (``tcp.MuteServer``, ``RedisServer.freeze()``, ``FaultProxy.mute()``): there the kernel
still acknowledges what is sent, and the client's kernel has nothing to repeat.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Self

__all__ = ["Blackhole", "BlackholeUnavailable"]

_CLONE_NEWNET = 0x40000000
_DEADLINE = 10.0  # seconds for one run of `ip`
_OWN_NAMESPACE = "/proc/thread-self/ns/net"

_HOSTS = {"client": "10.203.113.1", "server": "10.203.113.2"}
_CARDS = {"client": "02:00:00:00:00:01", "server": "02:00:00:00:00:02"}
_NOBODYS_CARD = "02:00:00:00:00:ff"


class BlackholeUnavailable(RuntimeError):
    """Here, or for this user, there can be none; the message says why, and serves as a reason to skip."""


class Blackhole:
    """Two network namespaces, one for clients and one for servers, and a wire between them.

    Use it with ``with``. A server is started in ``server_side()``, and clients run in ``client_side()``. Neither
    side has a route to anywhere else: nothing leaves the machine. The namespaces have no names, and so end with
    the last process in them, even when this one is killed.

    Attributes:
        client_host: the address of the client's side.
        server_host: the address of the server's side: what clients dial.

    Raises:
        BlackholeUnavailable: on entering: no Linux, no program ``ip`` (package iproute2), or no rights
            (``CAP_SYS_ADMIN`` and ``CAP_NET_ADMIN``, such as root's).
    """

    def __init__(self) -> None:
        self.client_host = _HOSTS["client"]
        self.server_host = _HOSTS["server"]
        self._spaces: dict[str, int] = {}

    def __enter__(self) -> Self:
        _check_machine()
        with contextlib.ExitStack() as undo:
            undo.callback(self._close)
            for side in _HOSTS:
                self._spaces[side] = _new_namespace()
            self._wire()
            undo.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._close()

    def drop(self) -> None:
        """Let every packet vanish, both ways. Raises RuntimeError outside of ``with``."""
        self._aim(dict.fromkeys(_HOSTS, _NOBODYS_CARD))

    def heal(self) -> None:
        """Let packets pass again. Raises RuntimeError outside of ``with``."""
        self._aim(_CARDS)

    @contextlib.contextmanager
    def client_side(self) -> Iterator[None]:
        """Put the calling thread on the client's side; see ``server_side()``."""
        with self._inside("client"):
            yield

    @contextlib.contextmanager
    def server_side(self) -> Iterator[None]:
        """Put the calling thread on the server's side.

        Sockets that it opens, and threads and processes that it starts, belong there for good; what it has
        opened before stays where it was. ``asyncio.run()`` goes inside of the block as a whole.

        Raises:
            RuntimeError: outside of ``with``.
        """
        with self._inside("server"):
            yield

    @contextlib.contextmanager
    def _inside(self, side: str) -> Iterator[None]:
        if side not in self._spaces:
            raise RuntimeError("a Blackhole has sides only inside `with`")
        before = os.open(_OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(self._spaces[side])
            try:
                yield
            finally:
                _enter(before)
        finally:
            os.close(before)

    def _wire(self) -> None:
        there = f"/proc/{os.getpid()}/fd/{self._spaces['server']}"
        link = f"address {_CARDS['client']} type veth peer name wire address {_CARDS['server']} netns {there}"
        self._ip("client", f"link add wire {link}")
        for side, host in _HOSTS.items():
            self._ip(side, "link set lo up", f"address add {host}/30 dev wire", "link set wire up")
        self.heal()

    def _aim(self, cards: dict[str, str]) -> None:
        # A frame with a card's address that nobody has is dropped by the receiver, silently, and because the entry
        # is permanent nobody asks for the right one: no error for the sender, as there would be with a link that
        # is down or a route that is gone, and no firewall needed.
        for side, other in (("client", "server"), ("server", "client")):
            self._ip(side, f"neighbour replace {_HOSTS[other]} lladdr {cards[other]} nud permanent dev wire")

    def _ip(self, side: str, *commands: str) -> None:
        with self._inside(side):
            done = subprocess.run(
                ["ip", "-batch", "-"],  # noqa: S607 - found on PATH, as the caller's administrator has it
                input="\n".join(commands),
                capture_output=True,
                text=True,
                timeout=_DEADLINE,
                check=False,
            )
        if done.returncode:
            raise BlackholeUnavailable(f"a blackhole cannot be wired here: {done.stderr.strip()}")

    def _close(self) -> None:
        while self._spaces:
            os.close(self._spaces.popitem()[1])


def _check_machine() -> None:
    if sys.platform != "linux":
        raise BlackholeUnavailable("a blackhole needs network namespaces, and so Linux")
    if shutil.which("ip") is None:
        raise BlackholeUnavailable("a blackhole needs the program `ip` (package iproute2)")


def _new_namespace() -> int:
    """Make a network namespace; it lives as long as the file descriptor that is returned, or somebody in it."""
    made: list[int | OSError] = []

    def make() -> None:
        try:
            _call("unshare", _CLONE_NEWNET)
            made.append(os.open(_OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            made.append(error)

    # On a thread that ends at once, so that the caller's own stays where it is.
    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    outcome = made[0]
    if isinstance(outcome, OSError):
        if outcome.errno in {errno.EPERM, errno.EACCES}:
            raise BlackholeUnavailable(
                "a blackhole needs root, or CAP_SYS_ADMIN and CAP_NET_ADMIN"
            ) from outcome
        raise BlackholeUnavailable(f"this kernel makes no network namespace: {outcome.strerror}") from outcome
    return outcome


def _enter(namespace: int) -> None:
    _call("setns", namespace, _CLONE_NEWNET)


def _call(name: str, *arguments: int) -> None:
    # `os` has both calls from Python 3.12 on.
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
