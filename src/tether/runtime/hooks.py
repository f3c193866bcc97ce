"""The callbacks of one connection, by kind of event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from tether.core.events import Kind, ReconnectEvent
from tether.runtime.callbacks import Mailbox, Reports
from tether.runtime.options import check_arguments, check_callable

F = TypeVar("F", bound=Callable[..., Any])

_ARGUMENTS: dict[Kind, Callable[[ReconnectEvent], tuple[Any, ...]]] = {
    Kind.CONNECTED: lambda _: (),
    Kind.RECONNECTED: lambda _: (),
    Kind.LOST: lambda event: (event.error,),
    Kind.ATTEMPT_FAILED: lambda event: (event.error, event.retry_count),
    Kind.GAVE_UP: lambda event: (event.error, event.retry_count),
}
_NAMES: dict[Kind, tuple[str, tuple[str, ...]]] = {
    Kind.CONNECTED: ("on_connect", ()),
    Kind.RECONNECTED: ("on_reconnect", ()),
    Kind.LOST: ("on_disconnect", ("error",)),
    Kind.ATTEMPT_FAILED: ("on_reconnect_failed", ("error", "retry_count")),
    Kind.GAVE_UP: ("on_give_up", ("error", "retry_count")),
}


class Hooks:
    """A subscriber that turns events into calls of users' callbacks."""

    __slots__ = ("_by_kind", "_reports", "_timeout")

    def __init__(self, timeout: float, reports: Reports) -> None:
        self._timeout, self._reports = timeout, reports
        self._by_kind: dict[Kind, list[Mailbox]] | None = None

    def add(self, kind: Kind, callback: F) -> F:
        """Have ``callback`` called for every event of ``kind``. Returns it.

        Raises:
            ConfigError: it cannot be called so.
        """
        hook, arguments = _NAMES[kind]
        check_callable(callback, what=hook, example="lambda *args: None")
        check_arguments(callback, arguments, what=hook)
        name = f"{hook}({getattr(callback, '__qualname__', type(callback).__qualname__)})"
        box = Mailbox(callback, name, self._reports, self._timeout)
        if self._by_kind is None:
            self._by_kind = {}
        self._by_kind.setdefault(kind, []).append(box)
        return callback

    def __call__(self, event: ReconnectEvent) -> None:
        """Post the event's arguments to the callbacks of its kind."""
        if self._by_kind is None:
            return
        for box in self._by_kind.get(event.kind, ()):
            box.post(*_ARGUMENTS[event.kind](event))

    def mailboxes(self) -> list[Mailbox]:
        """Return all of them."""
        return [box for boxes in (self._by_kind or {}).values() for box in boxes]

    def abandon(self) -> object:
        """Forget what waits in another process; return it."""
        return [box.abandon() for box in self.mailboxes()]

    def forget(self) -> None:
        """Drop what waits: the loop is gone."""
        for box in self.mailboxes():
            box.forget()
