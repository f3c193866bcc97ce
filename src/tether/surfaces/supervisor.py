"""The connections of one process, as its surfaces see them: a snapshot to read, and a few commands to give."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from tether.core.lifecycle import Status
from tether.core.redact import describe, redact
from tether.errors import ConfigError, TetherError, UsageError
from tether.runtime.manager import ReconnectManager
from tether.runtime.reconnector import Reconnector
from tether.runtime.stats import Stats

logger = logging.getLogger("tether.supervisor")

_NAMES_TOLD = 10
"""Names in an error about one that nobody has."""


class NoSuchConnection(TetherError):
    """There is no connection of that name."""


class NotNow(UsageError):
    """The connection cannot do that in its present state; nothing was changed.

    Args:
        message: why, and the mend.
        code: stable: ``paused``, ``not_started`` or ``cannot_start``.
    """

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Member:
    """One supervised connection.

    Attributes:
        name: unique.
        type: its technology.
        url: where to, without secrets.
        reconnector: what keeps it alive; ``None`` when it could not even be made.
        required: whether the process is ready only while this one is connected.
        depends_on: names of those that it needs.
    """

    name: str
    type: str
    url: str
    reconnector: Reconnector[Any] | None
    required: bool = False
    depends_on: tuple[str, ...] = ()


class Supervisor:
    """Holds connections with what a manager does not know of them: their URL, and whether they are required.

    Attributes:
        manager: holds the reconnectors.
        is_stopping: whether the end has begun: not ready any more.
    """

    def __init__(self, manager: ReconnectManager | None = None) -> None:
        self.manager = manager or ReconnectManager()
        self.is_stopping = False
        self._members: dict[str, Member] = {}
        self._problems: dict[str, str] = {}
        self._starting: asyncio.Task[None] | None = None
        self._forced: dict[Reconnector[Any], asyncio.Task[bool]] = {}

    def add(
        self,
        name: str,
        reconnector: Reconnector[Any],
        *,
        url: str = "",
        required: bool = False,
        depends_on: Iterable[str] = (),
        start_after: Iterable[str] | None = None,
    ) -> None:
        """Hold a connection. Raises ``ConfigError`` as ``ReconnectManager.register`` does.

        Args:
            name: unique.
            reconnector: what keeps it alive.
            url: to show; secrets in it are masked. By default, its technology and endpoint.
            required: whether the process is ready only while this one is connected.
            depends_on: names of those that it needs.
            start_after: those of them that it is to be started after; all, by default.
        """
        self._check_free(name)
        stats, needs = reconnector.stats(), tuple(depends_on)
        self.manager.register(name, reconnector, depends_on=needs if start_after is None else start_after)
        shown = redact(url) if url else _url(stats)
        self._members[name] = Member(name, stats.type, shown, reconnector, required, needs)

    def add_broken(
        self,
        name: str,
        error: Exception,
        *,
        type: str,
        url: str = "",
        required: bool = False,
        depends_on: Iterable[str] = (),
    ) -> None:
        """Remember a connection that could not be made, so that it is seen to be missing.

        Raises:
            ConfigError: there is one of that name.
        """
        self._check_free(name)
        self._members[name] = Member(name, type, redact(url), None, required, tuple(depends_on))
        self._trouble(name, error)

    def _check_free(self, name: str) -> None:
        if name in self:
            raise ConfigError(f"name: {name!r} is registered already; choose another")

    def _trouble(self, name: str, error: Exception) -> None:
        self._problems[name] = describe(error)
        logger.error("%s: cannot be started: %s", name, self._problems[name])

    # -- reading ------------------------------------------------------------------------------------------------------

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def members(self) -> Iterator[Member]:
        """Return all that there are, in the order in which they were added; also what was registered elsewhere."""
        registered = (name for name in self.manager.names() if name not in self._members)
        for name in (*self._members, *registered):
            if (member := self._find(name)) is not None:
                yield member

    def member(self, name: str) -> Member:
        """Return one.

        Raises:
            NoSuchConnection: there is none of that name.
        """
        if (member := self._find(name)) is None:
            raise NoSuchConnection(f"there is no connection {name!r}; {self._mend(name)}")
        return member

    def _find(self, name: str) -> Member | None:
        """Return one; the manager has the last word, for it may have been given others meanwhile."""
        member, reconnector = self._members.get(name), self.manager.get(name)
        if member is not None and member.reconnector is reconnector:
            return member
        if reconnector is None:
            return None
        stats = reconnector.stats()
        return Member(name, stats.type, _url(stats), reconnector)

    def _mend(self, name: str) -> str:
        names = self.names()
        if close := get_close_matches(name[:100], names, n=1):
            return f"did you mean {close[0]!r}?"
        more = f" and {len(names) - _NAMES_TOLD} more" if len(names) > _NAMES_TOLD else ""
        return f"there are: {', '.join(names[:_NAMES_TOLD]) or 'none'}{more}"

    def names(self) -> list[str]:
        """Return the names of all."""
        return [member.name for member in self.members()]

    def stats(self, member: Member) -> Stats | None:
        """Return the figures of one as they are now; ``None`` when it could not be made."""
        return None if member.reconnector is None else member.reconnector.stats()

    def problem(self, name: str) -> str:
        """Return why a connection could not be started, or ''. Holds no secret."""
        return self._problems.get(name, "")

    def event_names(self) -> dict[str, str]:
        """Return the names of all by the names that their events carry: the reconnectors' own."""
        return {reconnector.name: name for name, reconnector in reversed(self._reconnectors())}

    def _reconnectors(self) -> list[tuple[str, Reconnector[Any]]]:
        held = ((name, self.manager.get(name)) for name in self.manager.names())
        return [(name, reconnector) for name, reconnector in held if reconnector is not None]

    def is_up(self, member: Member) -> bool:
        """Whether it is connected."""
        return member.reconnector is not None and member.reconnector.is_connected

    # -- commands -----------------------------------------------------------------------------------------------------

    def reconnect(self, name: str) -> None:
        """Have it reconnect now; legal while connected. What comes of it is told by events.

        Raises:
            NoSuchConnection: there is none of that name.
            NotNow: it is paused, or not started.
        """
        reconnector = self._started(name)
        if reconnector.stats().paused:
            raise NotNow(f"{name} is paused; resume it first", "paused")
        if reconnector in self._forced:
            return  # that attempt is still under way, and a second command would only join it
        task = asyncio.get_running_loop().create_task(
            reconnector.reconnect(), name=f"tether reconnect {name}"
        )
        self._forced[reconnector] = task
        task.add_done_callback(lambda done: self._forget(reconnector, done))

    def _forget(self, reconnector: Reconnector[Any], task: asyncio.Task[bool]) -> None:
        del self._forced[reconnector]
        if not task.cancelled() and (error := task.exception()) is not None:
            # Stopped or paused in that very moment.
            logger.warning("%s: %s", task.get_name(), describe(error))

    def pause(self, name: str) -> None:
        """Leave it alone: no dial, no probe. A live connection stays. Raises as ``reconnect`` does; idempotent."""
        self._started(name).pause()

    def resume(self, name: str) -> None:
        """Look after it again, at once. Raises as ``reconnect`` does; idempotent."""
        self._started(name).resume()

    def _started(self, name: str) -> Reconnector[Any]:
        member = self.member(name)
        if member.reconnector is None:
            raise NotNow(f"{name} cannot be started: {self.problem(name)}", "cannot_start")
        if member.reconnector.status is Status.DISCONNECTED:
            why = self.problem(name) or "it is stopped, or its turn has not come yet"
            raise NotNow(f"{name} is not started: {why}", "not_started")
        return member.reconnector

    # -- its life -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to start all, in the background; a connection that cannot start never stops the others."""
        self._starting = asyncio.get_running_loop().create_task(self._start_all(), name="tether start")

    async def _start_all(self) -> None:
        for name, error in (await self.manager.start_all()).items():
            if error is not None:
                self._trouble(name, error)

    async def stop(self) -> None:
        """Stop all, quickly, in whatever state they are. Idempotent."""
        self.is_stopping = True
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait({self._starting})
        for name, error in (await self.manager.stop_all()).items():
            if error is not None:
                logger.error("%s: could not be stopped: %s", name, describe(error))
        if self._forced:
            await asyncio.wait(self._forced.values(), timeout=1)


def _url(stats: Stats) -> str:
    """Return where a connection leads to, when nobody has said it better."""
    return redact(stats.endpoint if "://" in stats.endpoint else f"{stats.type}://{stats.endpoint}")
