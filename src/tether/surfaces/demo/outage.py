"""What one fault did to the connection, gathered from tether's events."""

from __future__ import annotations

from dataclasses import dataclass, field

from tether.core.cause import Cause
from tether.core.events import Kind, ReconnectEvent
from tether.surfaces.demo.model import Counts, Result


@dataclass(slots=True)
class Outage:
    """One fault under way. All moments by one monotonic clock.

    Attributes:
        fault: its name.
        round: of the tour.
        began: when the demo struck.
        before: the counts of messages at that moment.
        accepts_at: when the server accepted again.
        flowed: whether messages flowed again.
    """

    fault: str
    round: int
    began: float
    before: Counts
    accepts_at: float | None = None
    flowed: bool = False
    lost_at: float | None = field(default=None, init=False)
    back_at: float | None = field(default=None, init=False)
    attempts: int = field(default=0, init=False)
    _cause: Cause | None = field(default=None, init=False)
    _then: dict[str, None] = field(default_factory=dict, init=False)

    def hear(self, event: ReconnectEvent, now: float) -> None:
        """Take one event of the connection."""
        if event.kind is Kind.LOST:
            self.back_at = None
            if self.lost_at is None:
                self.lost_at, self._cause = now, event.cause
        elif self.lost_at is None:
            return
        elif event.kind is Kind.ATTEMPT_STARTED:
            self.attempts += 1
        elif event.kind is Kind.ATTEMPT_FAILED and event.cause is not None:
            self._then[event.cause.code.value] = None
        elif event.kind in {Kind.CONNECTED, Kind.RECONNECTED}:
            self.back_at = now

    def result(self, counts: Counts, *, finished: bool = True) -> Result:
        """Return what is known, with the counts of messages as they are now."""
        back_after = None
        if self.back_at is not None and self.accepts_at is not None:
            # It may be faster than the demo's own look at the server.
            back_after = max(0.0, self.back_at - self.accepts_at)
        return Result(
            fault=self.fault,
            round=self.round,
            noticed_after=None if self.lost_at is None else self.lost_at - self.began,
            cause=self._cause,
            then=tuple(self._then),
            back_after=back_after,
            attempts=self.attempts,
            counts=counts - self.before,
            flowed=self.flowed,
            finished=finished,
        )
