"""One dial: credential, open, restore, one round trip, all under one deadline."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic

from tether.core import signals as sig
from tether.core.cause import Phase
from tether.ports import H
from tether.runtime.bounded import Bounded

if TYPE_CHECKING:
    from tether.runtime.engine import Engine


class Credentials:
    """Asks the user's provider for a credential and remembers the answer.

    Args:
        provider: sync or async callable without parameters. A sync one is called on the loop's thread.
    """

    __slots__ = ("_provider", "value")

    def __init__(self, provider: Callable[[], Any]) -> None:
        self._provider = provider
        self.value: Any = None

    async def ask(self) -> None:
        """Ask once. There is one dial at a time, so this is single flight by itself."""
        answer = self._provider()
        self.value = await answer if inspect.isawaitable(answer) else answer


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
        "_engine",
        "credential",
        "generation",
        "handle",
        "is_reconnect",
        "phase",
        "unrestored",
    )

    def __init__(self, engine: Engine[H], generation: int, *, is_reconnect: bool) -> None:
        self._engine = engine
        self._bounded: Bounded[None] | None = None
        self.generation, self.is_reconnect = generation, is_reconnect
        self.phase = Phase.TCP
        self.credential: Any = None
        self.handle: H | None = None
        self.unrestored: Sequence[str] = ()

    def begin(self, credentials: Credentials | None, *, ask: bool, timeout: float) -> None:
        """Start; the engine is told the outcome by ``attempt_ended``."""
        dial = self._dial(credentials, ask=ask)
        self._bounded = Bounded(dial, timeout, self._ended, self._ended_late, self._engine.stalled)

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The task that dials."""
        return None if self._bounded is None else self._bounded.task

    def cancel(self) -> asyncio.Task[None] | None:
        """Give it up; no outcome follows. Returns the task, which may still be unwinding."""
        if self._bounded is not None:
            self._bounded.cancel()
        return self.task

    def lost(self, error: BaseException) -> None:
        """Report that the connection of this dial has died."""
        self._engine.connection_lost(self, error)

    async def _dial(self, credentials: Credentials | None, *, ask: bool) -> None:
        connector = self._engine.connector
        try:
            if credentials is not None:
                await self._authenticate(credentials, ask=ask)
            self.handle = await connector.open(self)
            self.phase = Phase.RESTORE
            self.unrestored = tuple(await connector.restore(self.handle) or ())
            self.phase = Phase.READY
            await connector.probe(self.handle)
        except BaseException:
            self._drop()
            raise

    async def _authenticate(self, credentials: Credentials, *, ask: bool) -> None:
        """Ask the provider when a credential was refused, or when there is none to begin with."""
        used = self._engine.connector.credential if credentials.value is None else credentials.value
        if ask or used is None:
            self.phase = Phase.AUTH
            await credentials.ask()
            self.phase = Phase.TCP
            if credentials.value != used:
                self._engine.feed(sig.CredentialChanged())
        self.credential = credentials.value

    def _drop(self) -> None:
        handle, self.handle = self.handle, None
        if handle is not None:
            self._engine.abort(handle)

    def _ended(self, _: None, error: BaseException | None) -> None:
        self._engine.attempt_ended(self, error)

    def _ended_late(self, _: None) -> None:
        self._drop()
