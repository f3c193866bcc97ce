"""What users have subscribed to: it outlives every connection, and it alone says what is to be restored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol, TypeAlias

from tether.runtime.callbacks import Mailbox, Reports

MESSAGE_LIMIT = 1000
"""Messages kept per subscription whose handler cannot keep up; then the oldest is dropped and counted."""

Key: TypeAlias = tuple[bool, bytes]
"""(is a pattern, name)"""

Handler: TypeAlias = Callable[[dict[str, Any]], Awaitable[None] | None]


class Send(Protocol):
    """``await send(keys, wanted=…)``: subscribe, or unsubscribe."""

    async def __call__(self, keys: list[Key], *, wanted: bool) -> None:
        """Tell the server; a no-op while there is no connection."""


class Subscription:
    """One call of ``subscribe``.

    Attributes:
        channels: names, or patterns.
        pattern: whether they are patterns.
        dropped: messages dropped because the handler could not keep up.
    """

    def __init__(
        self,
        registry: Registry,
        channels: tuple[str, ...],
        handler: Handler,
        reports: Reports,
        *,
        pattern: bool,
    ) -> None:
        self._registry = registry
        self.channels, self.pattern = channels, pattern
        self.mailbox = Mailbox(handler, f"subscription({', '.join(channels)})", reports, None, MESSAGE_LIMIT)

    @property
    def keys(self) -> list[Key]:
        """What it listens to."""
        return [(self.pattern, name.encode()) for name in self.channels]

    @property
    def dropped(self) -> int:
        """Messages dropped because the handler could not keep up."""
        return self.mailbox.dropped

    @property
    def is_active(self) -> bool:
        """Whether it is still wanted: until ``unsubscribe()``."""
        return self in self._registry

    async def unsubscribe(self) -> None:
        """End it. While down this takes effect at once: it is not restored. Idempotent."""
        await self._registry.unsubscribe(self)


class Registry:
    """All subscriptions of one reconnector.

    Args:
        send: tells the server to (un)subscribe, if there is a connection.
        decode: whether handlers get text instead of bytes, as the user's client is set.
    """

    def __init__(self, send: Send, *, decode: bool) -> None:
        self._send = send
        self._decode = decode
        self._by_key: dict[Key, list[Subscription]] = {}
        self._leaving: list[Mailbox] = []  # unsubscribed, with messages to deliver

    def __contains__(self, subscription: object) -> bool:
        return any(subscription in subscriptions for subscriptions in self._by_key.values())

    def __bool__(self) -> bool:
        return bool(self._by_key)

    def wanted(self) -> set[Key]:
        """Return what should be subscribed."""
        return set(self._by_key)

    def names(self) -> list[str]:
        """Return the names of channels and patterns."""
        return sorted(name.decode(errors="replace") for _, name in self._by_key)

    def mailboxes(self) -> list[Mailbox]:
        """Return the mailboxes of all subscriptions, and of those that ended and still deliver what had come."""
        self._leaving = [box for box in self._leaving if not box.is_idle]
        return [subscription.mailbox for subscription in self._all()] + self._leaving

    def _all(self) -> Iterator[Subscription]:
        yield from dict.fromkeys(s for subscriptions in self._by_key.values() for s in subscriptions)

    async def subscribe(self, subscription: Subscription) -> None:
        """Add one; what the server refuses is taken out again, and raised."""
        for key in subscription.keys:
            self._by_key.setdefault(key, []).append(subscription)
        try:
            await self._send(subscription.keys, wanted=True)
        except BaseException:
            self._remove(subscription)
            raise

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Take one out, and tell the server of what nobody listens to any more."""
        if subscription in self:
            self._leaving = [box for box in (*self._leaving, subscription.mailbox) if not box.is_idle]
        orphans = self._remove(subscription)
        if orphans:
            await self._send(orphans, wanted=False)

    def _remove(self, subscription: Subscription) -> list[Key]:
        orphans = []
        for key in subscription.keys:
            subscriptions = self._by_key.get(key, [])
            if subscription in subscriptions:
                subscriptions.remove(subscription)
                if not subscriptions:
                    del self._by_key[key]
                    orphans.append(key)
        return orphans

    def deliver(self, response: list[bytes]) -> None:
        """Hand a raw message to its subscriptions, in the form that redis-py gives it."""
        kind, rest = response[0], response[1:]
        pattern, channel, data = rest if kind == b"pmessage" else (None, *rest)
        message = {"type": kind.decode(), "pattern": pattern, "channel": channel, "data": data}
        if self._decode:
            message = {key: _text(value) for key, value in message.items()}
        key: Key = (False, rest[0]) if pattern is None else (True, pattern)
        for subscription in self._by_key.get(key, ()):
            subscription.mailbox.post(message)


def _text(value: Any) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
