"""Every error that tether raises, in one tree.

::

    TetherError
    ├── NotConnected          the connection is down, and the call does not wait
    ├── IndeterminateError    the connection was lost in mid-call: done or not, nobody knows
    ├── NoVerdict             a probe could not be made (says nothing about the peer)
    ├── UsageError            called at the wrong time or from the wrong place   (RuntimeError)
    │   └── IllegalTransition the state machine has no such transition
    └── ConfigError           a value that cannot work                           (ValueError)
        └── MissingDriver     an optional package is not installed              (ImportError)

Errors of drivers are never wrapped in these when they are not a loss: they come through unchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tether.core.cause import Cause

__all__ = [
    "ConfigError",
    "IllegalTransition",
    "IndeterminateError",
    "MissingDriver",
    "NoVerdict",
    "NotConnected",
    "TetherError",
    "UsageError",
]


class TetherError(Exception):
    """The root: ``except TetherError`` catches all that tether raises by itself."""


class NotConnected(TetherError):
    """The connection is down (or given up, paused, stopped), and the call was not to wait for it."""


class IndeterminateError(TetherError):
    """The connection was lost while the call was under way.

    The operation may have been carried out or not. The driver's own exception, if there was one,
    is ``__cause__``; what was found about the loss is ``cause``.
    """

    def __init__(self, message: str, cause: Cause | None = None) -> None:
        super().__init__(message)
        self.cause = cause


class NoVerdict(TetherError):
    """Raised by a connector's ``probe`` when it could not even ask (a pool is exhausted, say)."""


class UsageError(TetherError, RuntimeError):
    """A method was called at the wrong time, twice, or from another event loop."""


class IllegalTransition(UsageError):
    """The transition table has no such entry; nothing was changed."""


class ConfigError(TetherError, ValueError):
    """A value that cannot work. The message names what, where, and the mend."""


class MissingDriver(ConfigError, ImportError):
    """An optional package is missing. The message names the extra that installs it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"the package {package!r} is not installed; install it with: pip install 'tether[{extra}]'"
        )
