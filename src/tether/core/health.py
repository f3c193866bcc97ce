"""Health by thresholds: how many probes in a row must fail before a connection counts as lost."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Health:
    """The verdicts of probes so far.

    Attributes:
        failure_threshold: failed probes in a row that make a loss (≥ 1).
        consecutive_failures: failed probes in a row.
    """

    failure_threshold: int = 1
    consecutive_failures: int = 0

    @property
    def is_lost(self) -> bool:
        """Whether the threshold is reached."""
        return self.consecutive_failures >= self.failure_threshold

    def updated(self, *, ok: bool) -> Health:
        """Return the health after one more probe. A good one forgets the failures; a good one on top is free."""
        if not ok:
            return replace(self, consecutive_failures=self.consecutive_failures + 1)
        return replace(self, consecutive_failures=0) if self.consecutive_failures else self
