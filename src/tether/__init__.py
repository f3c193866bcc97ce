"""tether keeps connections alive.

It notices a loss, names the cause, waits the right time, reconnects, restores what was on the connection, and shows
all of it while it happens.
"""

from tether.core.cause import Cause, Recovery
from tether.core.events import ReconnectEvent
from tether.core.hint import RetryHint
from tether.core.lifecycle import Status
from tether.errors import (
    ConfigError,
    IllegalTransition,
    IndeterminateError,
    MissingDriver,
    NotConnected,
    NoVerdict,
    TetherError,
    UsageError,
)
from tether.runtime.manager import ReconnectManager
from tether.runtime.reconnector import Reconnector

__all__ = [
    "Cause",
    "ConfigError",
    "IllegalTransition",
    "IndeterminateError",
    "MissingDriver",
    "NoVerdict",
    "NotConnected",
    "ReconnectEvent",
    "ReconnectManager",
    "Reconnector",
    "Recovery",
    "RetryHint",
    "Status",
    "TetherError",
    "UsageError",
    "__version__",
]

__version__ = "0.1.0"
