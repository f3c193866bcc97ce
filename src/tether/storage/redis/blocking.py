"""The blocking face of a subscription."""

from __future__ import annotations

from typing import Any

from tether.runtime.blocking import Blocking
from tether.storage.redis.subscriptions import Subscription


class BlockingSubscription:
    """What ``tether.sync.RedisReconnector.subscribe`` returns."""

    def __init__(self, face: Blocking[Any], inner: Subscription) -> None:
        self._face, self._inner = face, inner

    def unsubscribe(self) -> None:
        """Listen no longer, also across the next losses. Idempotent."""
        self._face._await(self._inner.unsubscribe())  # noqa: SLF001 - the other face

    @property
    def dropped(self) -> int:
        """Messages dropped because the handler could not keep up (oldest first)."""
        return self._inner.dropped
