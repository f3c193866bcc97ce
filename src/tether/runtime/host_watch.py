"""Tells the started connections of one event loop what happens to their host: it has slept, a network came or went.

One timer and one socket per loop, however many connections, and none without: they are made with the first start and
end with the last stop. A connection needs no timer of its own for this, and so is told in every state: also one that is
never probed, sleeps, or was given up.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import socket
import weakref
from collections.abc import Callable
from functools import partial
from typing import Protocol

from tether.core.duration import compact
from tether.runtime.fork import remember_socket
from tether.runtime.network_watch import Uplink, Uplinks, existing_links, open_socket
from tether.runtime.suspension import Clock, Suspensions, asleep_clock

logger = logging.getLogger("tether.host")

LOOK_EVERY = 1.0
"""Seconds between two looks at the clocks. The timer stands still while the host sleeps, so this is how late we are."""

GATHER = 0.25
"""Seconds in which messages of the kernel become one piece of news: an address comes with routes and more addresses."""

SPACING = 1.0
"""Seconds between two pieces of news at least: an uplink that comes and goes must not have us dial all the time."""

AT_ONCE = 16
"""Connections that are told before the loop gets its turn."""

MESSAGES_AT_ONCE = 64


class Member(Protocol):
    """Who is told."""

    def network_changed(self) -> None:
        """There is a new way out."""

    def uplink_lost(self) -> None:
        """A way out is gone."""

    def host_resumed(self, gap: float) -> None:
        """The host has slept for ``gap`` seconds."""


class HostWatch:
    """Watches the host for one loop.

    Args:
        loop: whose timers and readers to use.
        asleep: seconds that the host has slept in all; ``None`` where nobody can tell.
        listen: opens the socket on which the kernel tells; answers ``None`` where it does not.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        asleep: Clock | None,
        listen: Callable[[], socket.socket | None],
    ) -> None:
        self._loop, self._asleep, self._listen = loop, asleep, listen
        self._members: weakref.WeakSet[Member] = weakref.WeakSet()
        self._looking: asyncio.TimerHandle | None = None
        self._suspensions: Suspensions | None = None
        self._socket: socket.socket | None = None
        self._close_socket: Callable[[], object] | None = None
        self._uplinks = Uplinks()
        self._news: set[Uplink] = set()
        self._gathering: asyncio.TimerHandle | None = None
        self._told_at = -math.inf

    def join(self, member: Member) -> None:
        """Have a member told; the first one begins the watch. It is not kept alive by this."""
        self._members.add(member)
        if self._looking is None:
            self._begin()

    def leave(self, member: Member) -> None:
        """Tell it no more; the last one ends the watch. Idempotent."""
        self._members.discard(member)
        if not self._members:
            self._end()

    def _begin(self) -> None:
        self._suspensions = None if self._asleep is None else Suspensions(self._asleep)
        self._looking = self._loop.call_later(LOOK_EVERY, self._look)
        sock = self._listen()
        if sock is None:
            return
        self._socket = sock
        self._uplinks = Uplinks(existing_links())
        remember_socket(sock)
        # A loop that ends without stop() takes its reader along, and the socket with it.
        self._close_socket = weakref.finalize(self._loop, sock.close)
        self._loop.add_reader(sock.fileno(), self._read)

    def _end(self) -> None:
        for timer in (self._looking, self._gathering):
            if timer is not None:
                timer.cancel()
        self._looking = self._gathering = None
        self._news.clear()
        self._close()

    def _close(self) -> None:
        sock, close = self._socket, self._close_socket
        self._socket = self._close_socket = None
        if sock is not None and close is not None:
            if not self._loop.is_closed():
                self._loop.remove_reader(sock.fileno())
            close()

    # -- sleep --------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        if not self._members:  # dropped without stop()
            self._end()
            return
        self._looking = self._loop.call_later(LOOK_EVERY, self._look)
        gap = 0.0 if self._suspensions is None else self._suspensions.gap()
        if gap:
            logger.info("this host was asleep for %s", compact(gap))
            self._tell(lambda member: member.host_resumed(gap))

    # -- network ------------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        assert self._socket is not None
        for _ in range(MESSAGES_AT_ONCE):
            try:
                self._news |= self._uplinks.read(self._socket.recv(65536))
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    logger.warning("the kernel tells no more of network changes: %s", error)
                    self._close()
                    break
                self._news.add(Uplink.GAINED)  # it told more than we could take: whatever it was, ask
        if self._news and self._gathering is None:
            delay = max(GATHER, self._told_at + SPACING - self._loop.time())
            self._gathering = self._loop.call_later(delay, self._gathered)

    def _gathered(self) -> None:
        news, self._news, self._gathering = self._news, set(), None
        self._told_at = self._loop.time()
        if Uplink.GAINED in news:
            logger.debug("a network came")
            self._tell(lambda member: member.network_changed())
        else:
            logger.debug("a network went")
            self._tell(lambda member: member.uplink_lost())

    # -- telling ------------------------------------------------------------------------------------------------------

    def _tell(self, call: Callable[[Member], None]) -> None:
        self._tell_some(call, list(self._members))

    def _tell_some(self, call: Callable[[Member], None], members: list[Member]) -> None:
        """Tell some, and the rest after the loop had its turn: ten thousand probes at once would stall it."""
        for member in members[:AT_ONCE]:
            if member in self._members:  # stopped meanwhile
                call(member)
        if len(members) > AT_ONCE:
            self._loop.call_soon(partial(self._tell_some, call, members[AT_ONCE:]))


_ATTRIBUTE = "_tether_host_watch"


def join(loop: asyncio.AbstractEventLoop | None, member: Member) -> None:
    """Have ``member`` told of what happens to the host of ``loop``."""
    if loop is None:
        return
    watch: HostWatch | None = vars(loop).get(_ATTRIBUTE)
    if watch is None and not _has_own_clock(loop):
        watch = install(loop, HostWatch(loop, asleep=asleep_clock(), listen=open_socket))
    if watch is not None:
        watch.join(member)


def leave(loop: asyncio.AbstractEventLoop | None, member: Member) -> None:
    """Tell ``member`` no more. Idempotent."""
    watch: HostWatch | None = None if loop is None else vars(loop).get(_ATTRIBUTE)
    if watch is not None:
        watch.leave(member)


def install(loop: asyncio.AbstractEventLoop, watch: HostWatch) -> HostWatch:
    """Have ``watch`` be the one of ``loop``. It lives on the loop itself, as the timer wheel does."""
    vars(loop)[_ATTRIBUTE] = watch
    return watch


def _has_own_clock(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop's time is not the host's: then neither are its sleep and its networks."""
    return isinstance(loop, asyncio.BaseEventLoop) and type(loop).time is not asyncio.BaseEventLoop.time
