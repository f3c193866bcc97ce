"""One dial: credential, open, restore, one round trip, all under one deadline."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Generic

from tether.core import signals as sig
from tether.core.cause import Phase
from tether.ports import H
from tether.runtime.bounded import Bounded
from tether.runtime.course import Course
from tether.runtime.host import Host


class Credentials:
    """Asks the user's provider for a credential and remembers the answer.

    Args:
        provider: sync or async callable without parameters. A sync one is called on the loop's thread.

    Attributes:
        value: the latest answer, or ``None``.
        is_stale: whether the next dial must ask again, because someone says that there is a new one.
    """

    __slots__ = ("_provider", "is_stale", "value")

    def __init__(self, provider: Callable[[], Any]) -> None:
        self._provider = provider
        self.value: Any = None
        self.is_stale = False

    async def ask(self) -> None:
        """Ask once. There is one dial at a time, so this is single flight by itself."""
        answer = self._provider()
        self.value = await answer if inspect.isawaitable(answer) else answer
        self.is_stale = False


class Dialing(Generic[H]):
    """An attempt under way; it is the ``Attempt`` that connectors see.

    Attributes:
        generation: number of this dial.
        is_reconnect: whether there was a connection before it.
        phase: how far it has come.
        credential: for the connector, from the provider.
        handle: the open connection, as soon as there is one.
        unrestored: names of items that could not be restored.
    """

    __slots__ = (
        "_bounded",
        "_course",
        "_host",
        "_is_over",
        "_phase",
        "credential",
        "generation",
        "handle",
        "is_reconnect",
        "unrestored",
    )

    def __init__(self, host: Host[H], generation: int) -> None:
        self._host = host
        self._bounded: Bounded[None] | None = None
        self._is_over = False
        self.generation = generation
        self.is_reconnect = host.link.was_connected
        self._phase = Phase.TCP
        self._course: Course | None = Course(host.now())
        self.credential: Any = None
        self.handle: H | None = None
        self.unrestored: Sequence[str] = ()

    def begin(self, credentials: Credentials | None, *, ask: bool) -> None:
        """Start; the host is told the outcome by ``attempt_ended``."""
        host, dial = self._host, self._dial(credentials, ask=ask)
        self._bounded = Bounded(dial, host.watch.connect_timeout, self._ended, self._ended_late, host.stalled)

    @property
    def phase(self) -> Phase:
        """How far it has come."""
        return self._phase

    @phase.setter
    def phase(self, phase: Phase) -> None:
        self._phase = phase
        if self._course is not None:
            self._course.enter(phase, self._host.now())

    def end_course(self) -> dict[str, Any] | None:
        """Return how it went, once: an open connection keeps its attempt, and is to keep no more than it needs."""
        course, self._course = self._course, None
        return None if course is None else course.detail(self._host.now())

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The task that dials."""
        return None if self._bounded is None else self._bounded.task

    def cancel(self) -> None:
        """Give it up; no outcome follows. The task may still be unwinding."""
        self._is_over = True
        self._drop()
        if self._bounded is not None:
            self._bounded.cancel()

    def lost(self, error: BaseException) -> None:
        """Report that the connection of this dial has died."""
        self._host.connection_lost(self.generation, error)

    async def _dial(self, credentials: Credentials | None, *, ask: bool) -> None:
        connector = self._host.connector
        try:
            if credentials is not None:
                await self._authenticate(credentials, ask=ask)
            self._presume_connecting()
            self.handle = await connector.open(self)
            self._go_on()
            self.phase = Phase.RESTORE
            self.unrestored = tuple(await connector.restore(self.handle) or ())
            self._go_on()
            self.phase = Phase.READY
            await connector.probe(self.handle)
        except BaseException:
            self._drop()
            raise

    async def _authenticate(self, credentials: Credentials, *, ask: bool) -> None:
        """Ask the provider when a credential was refused, or when there is none to begin with."""
        used = self._host.connector.credential if credentials.value is None else credentials.value
        credentials.is_stale = credentials.is_stale or ask  # until it has answered
        if used is None or credentials.is_stale:
            self.phase = Phase.AUTH
            await credentials.ask()
            if credentials.value != used:
                self._host.feed(sig.CredentialChanged())
        self.credential = credentials.value

    def _presume_connecting(self) -> None:
        """A connector that never sets a phase is connecting."""
        self._phase = Phase.TCP
        if self._course is not None:
            self._course.presume(Phase.TCP, self._host.now())

    def _go_on(self) -> None:
        """End here once the verdict has been told: restoring now would take things from the next connection."""
        if self._is_over:
            raise asyncio.CancelledError

    def _drop(self) -> None:
        handle, self.handle = self.handle, None
        if handle is not None:
            self._host.abort(handle)

    def _ended(self, _: None, error: BaseException | None) -> None:
        self._is_over = True
        if error is not None:
            self._drop()
        self._host.attempt_ended(self.generation, error)
        # The open connection keeps its attempt; the attempt need not keep its task, coroutine and timer.
        self._bounded = None

    def _ended_late(self, _: None) -> None:
        self._drop()
