"""Makes events."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tether.core.events import Kind, ReconnectEvent
from tether.core.lifecycle import Status


def event(kind: Kind, **more: Any) -> ReconnectEvent:
    """Return an event of a connection named ``cache``."""
    plain: dict[str, Any] = {
        "connection": "cache",
        "type": "redis",
        "status": Status.RECONNECTING,
        "timestamp": datetime(2026, 11, 21, 12, 0, 0, 5000, tzinfo=UTC),
    }
    return ReconnectEvent(kind=kind, **(plain | more))
