"""``retry:``, one model per strategy. A new strategy is one more model in ``STRATEGIES``."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field

from tether.backoff import (
    Backoff,
    decorrelated_jitter,
    exponential_backoff,
    fixed_interval,
    full_jitter,
    grpc_backoff,
    jittered_backoff,
    linear_backoff,
)
from tether.config.durations import OptionalSeconds, PositiveSeconds, Seconds
from tether.config.leaves import Factor, Fraction
from tether.config.model import Model

_FIRST = "The first delay."
_FACTOR = "Growth per failed attempt; 2 doubles each delay."
_MAXIMUM = "The longest delay, before jitter; null for none."


class Exponential(Model):
    """``min(maximum, base · factorⁿ)``, spread by ± jitter after the cap."""

    strategy: Literal["exponential"] = Field(default="exponential", description="The way delays grow.")
    base: Seconds = Field(default=1.0, description=_FIRST)
    factor: Factor = Field(default=2.0, description=_FACTOR)
    maximum: OptionalSeconds = Field(default=60.0, description=_MAXIMUM)
    jitter: Fraction = Field(default=0.1, description="The spread of each delay; 0.1 is ±10 %, 0 is none.")

    def backoff(self) -> Backoff:
        """Return the backoff that these settings describe."""
        return exponential_backoff(self.base, self.factor, self.maximum, self.jitter)


class Linear(Model):
    """``base · (n + 1)``."""

    strategy: Literal["linear"] = Field(default="linear", description="The way delays grow.")
    base: Seconds = Field(default=1.0, description="The first delay, and what each failed attempt adds.")

    def backoff(self) -> Backoff:
        """Return the backoff that these settings describe."""
        return linear_backoff(self.base)


class Fixed(Model):
    """Always the same delay."""

    strategy: Literal["fixed"] = Field(default="fixed", description="The way delays grow.")
    base: Seconds = Field(default=1.0, description="The delay.")

    def backoff(self) -> Backoff:
        """Return the backoff that these settings describe."""
        return fixed_interval(self.base)


class Jittered(Model):
    """``base · 2ⁿ`` and a random addition, never earlier than the nominal delay."""

    strategy: Literal["jittered"] = Field(default="jittered", description="The way delays grow.")
    base: Seconds = Field(default=1.0, description=_FIRST)
    max_jitter: Seconds = Field(default=1.0, description="The longest addition; 0 is none.")

    def backoff(self) -> Backoff:
        """Return the backoff that these settings describe."""
        return jittered_backoff(self.base, self.max_jitter)


class FullJitter(Model):
    """Anything from zero to ``min(maximum, base · factorⁿ)``."""

    strategy: Literal["full_jitter"] = Field(default="full_jitter", description="The way delays grow.")
    base: Seconds = Field(default=1.0, description="The longest first delay.")
    factor: Factor = Field(default=2.0, description=_FACTOR)
    maximum: OptionalSeconds = Field(default=None, description="The longest delay; null for none.")

    def backoff(self) -> Backoff:
        """Return the backoff that these settings describe."""
        return full_jitter(self.base, self.factor, self.maximum)


class Decorrelated(Model):
    """Anything from ``base`` to ``min(maximum, base · 3ⁿ⁺¹)``."""

    strategy: Literal["decorrelated"] = Field(default="decorrelated", description="The way delays grow.")
    base: PositiveSeconds = Field(default=1.0, description="The shortest delay.")
    maximum: PositiveSeconds = Field(default=60.0, description="The longest delay; at least as long as base.")

    def backoff(self) -> Backoff:
        """Return the backoff that these settings describe."""
        return decorrelated_jitter(self.base, self.maximum)


class Grpc(Model):
    """gRPC's: 1 s × 1.6ⁿ up to 120 s, ±20 %, counted from the start of the failed attempt."""

    strategy: Literal["grpc"] = Field(default="grpc", description="The way delays grow.")

    def backoff(self) -> Backoff:
        """Return the backoff that these settings describe."""
        return grpc_backoff()


RetrySettings: TypeAlias = Exponential | Linear | Fixed | Jittered | FullJitter | Decorrelated | Grpc

STRATEGIES: dict[str, type[Model]] = {
    "exponential": Exponential,
    "linear": Linear,
    "fixed": Fixed,
    "jittered": Jittered,
    "full_jitter": FullJitter,
    "decorrelated": Decorrelated,
    "grpc": Grpc,
}
DEFAULT = "exponential"
