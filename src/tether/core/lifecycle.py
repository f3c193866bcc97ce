"""The status of a connection and the one table by which it changes.

Everything that moves a status is in :data:`TRANSITIONS`; an absent key is an error that changes nothing. The diagram in
the docs is drawn from this table. What happens beside the move (dials, delays, events) is decided in
``tether.core.machine``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from tether.errors import IllegalTransition


class Status(StrEnum):
    """The public status of a connection."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    FAILED = "failed"


class Trigger(StrEnum):
    """What moves the status."""

    START = "start"
    CONNECT = "connect"
    FAIL = "fail"
    FAIL_AGAIN = "fail_again"
    """A revived connection's attempt failed: the old loss goes on."""
    LOSE = "lose"
    END = "end"
    """The peer closed for good, and the cause asks for no recovery."""
    GIVE_UP = "give_up"
    REVIVE = "revive"
    STOP = "stop"


TRANSITIONS: Mapping[Status, Mapping[Trigger, Status]] = {
    Status.DISCONNECTED: {
        Trigger.START: Status.CONNECTING,
        Trigger.STOP: Status.DISCONNECTED,
    },
    Status.CONNECTING: {
        Trigger.CONNECT: Status.CONNECTED,
        Trigger.FAIL: Status.CONNECTING,
        Trigger.FAIL_AGAIN: Status.RECONNECTING,
        Trigger.GIVE_UP: Status.FAILED,
        Trigger.STOP: Status.DISCONNECTED,
    },
    Status.CONNECTED: {
        Trigger.LOSE: Status.RECONNECTING,
        Trigger.END: Status.DISCONNECTED,
        Trigger.STOP: Status.DISCONNECTED,
    },
    Status.RECONNECTING: {
        Trigger.CONNECT: Status.CONNECTED,
        Trigger.FAIL: Status.RECONNECTING,
        Trigger.GIVE_UP: Status.FAILED,
        Trigger.STOP: Status.DISCONNECTED,
    },
    Status.FAILED: {
        Trigger.REVIVE: Status.CONNECTING,
        Trigger.STOP: Status.DISCONNECTED,
    },
}


def target(status: Status, trigger: Trigger) -> Status:
    """Return where ``trigger`` leads from ``status``.

    Raises:
        IllegalTransition: the table has no such entry.
    """
    try:
        return TRANSITIONS[status][trigger]
    except KeyError:
        raise IllegalTransition(f"a connection that is {status.value} cannot {trigger.value}") from None
