"""What users may set, checked once and kept as frozen values."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

from tether.core.backoff import Backoff, starts_at_attempt
from tether.core.redact import describe
from tether.errors import ConfigError

FALLBACK_DELAY = 1.0
"""Seconds. Used when a user's own backoff raises or answers nonsense: reconnection must go on."""


@dataclass(frozen=True, slots=True)
class Watch:
    """How a connection is watched. All durations in seconds."""

    logger: logging.Logger
    connect_timeout: float
    health_check: bool
    interval: float
    timeout: float
    failure_threshold: int
    callback_timeout: float


def check_count(value: int | None, *, what: str, least: int, may_be_none: bool = False) -> int | None:
    """Return a count that can work.

    Raises:
        ConfigError: not a whole number, or less than ``least``.
    """
    if value is None and may_be_none:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        never = ", or None for no limit" if may_be_none else ""
        raise ConfigError(f"{what}: {value!r} must be a whole number of at least {least}{never}")
    return value


def check_callable(value: object, *, what: str, example: str) -> None:
    """Refuse what cannot be called.

    Raises:
        ConfigError: with an example of what can.
    """
    if not callable(value):
        raise ConfigError(f"{what}: {value!r} cannot be called; pass a function, such as {example}")


def check_arguments(callback: Callable[..., object], arguments: tuple[str, ...], *, what: str) -> None:
    """Refuse a callback that cannot take what it will be called with: better now than in the next outage.

    Raises:
        ConfigError: it takes other arguments.
    """
    try:
        signature = inspect.signature(callback)
    except (TypeError, ValueError):
        return  # some builtins have none
    try:
        signature.bind(*arguments)
    except TypeError as error:
        call = f"callback({', '.join(arguments)})"
        raise ConfigError(f"{what}: it is called as {call}, and this takes {signature}: {error}") from None


def safe_backoff(backoff: Backoff, logger: logging.Logger) -> Backoff:
    """Return ``backoff`` such that a user's callable that raises or answers nonsense cannot stop reconnection.

    Raises:
        ConfigError: it cannot be called, or its first answer is no delay.
    """
    check_callable(
        backoff, what="retry_interval", example="exponential_backoff(1, 2, maximum=60, jitter=0.1)"
    )
    if type(backoff).__module__ == "tether.core.backoff":
        return backoff
    _check_answer(backoff)
    return _Guarded(backoff, logger)


def _check_answer(backoff: Callable[[int], object]) -> None:
    try:
        answer = backoff(0)
    except Exception as error:
        text = f"calling it with retry_count 0 failed ({describe(error)}); it is called as f(retry_count)"
        raise ConfigError(f"retry_interval: {text}") from error
    if (
        isinstance(answer, bool)
        or not isinstance(answer, (int, float))
        or not math.isfinite(answer)
        or answer < 0
    ):
        raise ConfigError(
            f"retry_interval: its delay for retry_count 0 is {answer!r}; it must be seconds, 0 or more"
        )


class _Guarded:
    """A user's own backoff, with a fall-back."""

    __slots__ = ("_backoff", "_logger", "from_attempt_start")

    def __init__(self, backoff: Backoff, logger: logging.Logger) -> None:
        self._backoff, self._logger = backoff, logger
        self.from_attempt_start = starts_at_attempt(backoff)

    def __call__(self, retry_count: int) -> float:
        try:
            delay = float(self._backoff(retry_count))
        except Exception:
            self._logger.exception(
                "the backoff failed at retry_count %d; waiting %g s", retry_count, FALLBACK_DELAY
            )
            return FALLBACK_DELAY
        if math.isfinite(delay) and delay >= 0:
            return delay
        self._logger.error(
            "the backoff answered %r at retry_count %d; waiting %g s", delay, retry_count, FALLBACK_DELAY
        )
        return FALLBACK_DELAY
