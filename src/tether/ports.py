"""What the runtime needs from the outside: Protocols only.

A technology joins tether by one :class:`Connector`. Subclass it for the defaults, or write a class of the same shape;
``tether.testing.check_connector`` tells whether it keeps the contract.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from tether.core.cause import Phase, Rule
from tether.core.events import ReconnectEvent

H = TypeVar("H")


class Attempt(Protocol):
    """One dial, as a connector sees it.

    Attributes:
        generation: number of this dial.
        is_reconnect: whether there was a connection before it (since ``start``).
        phase: how far the dial has come. Set it when a phase begins (``Phase.TCP``, ``Phase.AUTH`` …): a cause says
            where, and the events that end the attempt how long each phase took.
        credential: what the credentials provider answered, or ``None`` to use the connector's own.
    """

    generation: int
    is_reconnect: bool
    phase: Phase
    credential: Any

    def lost(self, error: BaseException) -> None:
        """Report that the connection of this dial has died. Legal at any time, from any callback of the loop."""


class Connector(Protocol[H]):
    """How to open, restore, probe and drop a connection of one technology. ``H`` is the open connection.

    Every coroutine here runs under the runtime's deadline, and may be cancelled at any await.

    Attributes:
        kind: short name of the technology, for logs and metrics.
        endpoint: where to, without secrets.
        client: the client that users call, when it outlives connections (a pool, an engine); ``None`` when users call
            the open connection itself.
        driver_retries: whether that client repeats failed calls by itself; ``run()`` then makes one call and lets it.
        credential: the connector's own credential to begin with, in the form that a credentials provider answers;
            ``None`` for none. It is only compared.
        secrets: literal values that must never be shown.
        rules: how to tell a loss from other errors, asked before the network's own rules.
        driver_modules: top-level packages whose bare ``RuntimeError`` means a dead handle.
    """

    kind: str = "custom"
    endpoint: str = ""
    client: Any = None
    driver_retries: bool = False
    credential: Any = None
    secrets: Sequence[str] = ()
    rules: Sequence[Rule] = ()
    driver_modules: Sequence[str] = ()

    async def open(self, attempt: Attempt) -> H:
        """Look up, connect, log in. When cancelled or failing, leave nothing open behind."""
        ...

    async def restore(self, handle: H) -> Sequence[str]:
        """Bring back what was on the connection; idempotent. Return the names of items that could not be restored.

        Raising fails the attempt. Called again later, with backoff, while it returns names.
        """
        return ()

    async def probe(self, handle: H) -> None:
        """Make one round trip; raise when it fails, ``NoVerdict`` when it could not be made."""
        ...

    def abort(self, handle: H) -> None:
        """Drop the connection at once, without waiting and without a goodbye. Idempotent."""
        ...

    async def close(self, handle: H) -> None:
        """Say goodbye and close. The runtime gives it a short deadline, then calls ``abort``."""
        self.abort(handle)


Subscriber = Callable[[ReconnectEvent], None]
"""Is told every event, at once, on the loop's thread; it must neither wait nor raise nor call back."""
