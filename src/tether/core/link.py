"""What the state machine knows about one connection, and what it has to tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from tether.core.cause import Cause
from tether.core.events import Kind
from tether.core.lifecycle import Status

FLAPS = 3
"""Losses in a row of connections that never became stable, from which on a connection is ``flapping``."""


class Activity(StrEnum):
    """What the machine is doing, beside the public status."""

    IDLE = "idle"
    DIALING = "dialing"
    WAITING = "waiting"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Link:
    """All that the machine knows about one connection. Times are monotonic seconds.

    Attributes:
        generation: number of the latest dial; it stamps all that comes of it.
        retry_count: failed attempts in a row.
        spent: those of them that count against ``max_retries``.
        extra: attempts allowed beyond ``max_retries`` (1 for a first start and a revival).
        level: how far the backoff has grown.
        refusals: refused logins in a row of the present credential; one that is taken and soon revoked counts too.
        denials: the same of whatever credential.
        ask_credential: whether the dial is to ask the credentials provider: once for each refusal.
        credential_worked: whether a login with the present credential has succeeded.
        was_connected: whether there was a connection since ``start``.
        unstable_losses: losses in a row of connections that never became stable.
        since: when the present activity began (dial, connection).
        down_since: when the outage (or the first start) began; ``None`` while connected.
        due_at: when the next dial is due; ``None`` unless a timer runs.
        cause: of the last loss or failed attempt; ``None`` while connected.
    """

    status: Status = Status.DISCONNECTED
    activity: Activity = Activity.IDLE
    generation: int = 0
    retry_count: int = 0
    spent: int = 0
    extra: int = 1
    level: int = 0
    refusals: int = 0
    denials: int = 0
    ask_credential: bool = False
    credential_worked: bool = False
    was_connected: bool = False
    paused: bool = False
    degraded: bool = False
    unstable_losses: int = 0
    since: float = 0.0
    down_since: float | None = None
    due_at: float | None = None
    cause: Cause | None = None

    def is_stable(self, now: float, stable_after: float) -> bool:
        """Whether the connection is up and has been for ``stable_after`` seconds."""
        return self.activity is Activity.LIVE and now - self.since >= stable_after

    def is_flapping(self, now: float, stable_after: float) -> bool:
        """Whether it came and went several times in a row without becoming stable."""
        return self.unstable_losses >= FLAPS and not self.is_stable(now, stable_after)


class Fact(NamedTuple):
    """Something to tell: the core of an event, with the link's figures as they were at that moment."""

    kind: Kind
    status: Status
    generation: int
    retry_count: int
    cause: Cause | None = None
    delay: float | None = None
    elapsed: float | None = None
    detail: Mapping[str, Any] | None = None
