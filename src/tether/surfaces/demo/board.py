"""Gathers what the demo does and what tether tells, and answers with a snapshot. Prints nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from tether.core.cause import Cause
from tether.core.events import Kind, ReconnectEvent
from tether.core.lifecycle import Status
from tether.surfaces.demo.ledger import Ledger
from tether.surfaces.demo.model import Beat, Counts, Entry, Flow, Progress, Result, RoundEnded, Snapshot, Step
from tether.surfaces.demo.outage import Outage
from tether.surfaces.demo.words import fates, outcome
from tether.surfaces.words import Tone, tell, took

BEATS = 120
"""Samples of the heartbeat that are kept; how many are shown depends on the width."""

ENTRIES = 40
"""Lines of what happened that are kept for the view."""

Listener = Callable[[Entry | RoundEnded], None]


class Figures(Protocol):
    """What the view needs of a connection's ``stats()``."""

    @property
    def status(self) -> Status:
        """The status."""

    @property
    def cause(self) -> Cause | None:
        """Of the last loss or failed attempt."""

    @property
    def retry_count(self) -> int:
        """Failed attempts in a row."""

    @property
    def next_attempt_in(self) -> float | None:
        """Seconds until the next attempt, if one is due."""


class Board:
    """Everything that the demo knows.

    Args:
        ledger: the fates of messages.
        faults: the names of the tour's steps.
        now: the clock; monotonic seconds.
        endless: whether the tour repeats.
        rate: messages per second that should come.
        sample: seconds per sample of the heartbeat.

    Attributes:
        endpoint: where the server is.
        api: where the state is served, or ''.
        results: of the present round.
        earlier: of the rounds before it.
        round: number of the round.
    """

    def __init__(
        self,
        ledger: Ledger,
        faults: Sequence[str],
        *,
        now: Callable[[], float],
        endless: bool = False,
        rate: float = 20.0,
        sample: float = 0.25,
    ) -> None:
        self._ledger, self._faults, self._now, self._endless = ledger, tuple(faults), now, endless
        self._expected = max(1.0, rate * sample)
        self._began = now()
        self._status, self._status_since = Status.DISCONNECTED, self._began
        self._wait: float | None = None
        self._last_outage: float | None = None
        self._server, self._server_ok, self._server_at = "", True, self._began
        self._mend, self._mend_at = "", self._began
        self._mark, self._seen = "", 0
        self._beats: deque[Beat] = deque(maxlen=BEATS)
        self._entries: deque[Entry] = deque(maxlen=ENTRIES)
        self._outage: Outage | None = None
        self.endpoint = self.api = ""
        self._listeners: list[Listener] = []
        self.results: list[Result] = []
        self.earlier: list[Result] = []
        self.round = 0

    def listen(self, listener: Listener) -> None:
        """Have ``listener`` told, at once, of every line (those so far too) and of every round that another follows."""
        for entry in self._entries:
            listener(entry)
        self._listeners.append(listener)

    # -- what happens -------------------------------------------------------------------------------------------------

    def hear(self, event: ReconnectEvent) -> None:
        """Take one event of the connection."""
        now = self._now()
        if event.status is not self._status:
            self._status, self._status_since = event.status, now
        if event.kind is Kind.RETRY_SCHEDULED:
            self._wait = event.delay
        elif event.kind is Kind.RECONNECTED:
            self._last_outage = event.elapsed
        if self._outage is not None:
            self._outage.hear(event, now)
        said = tell(event)
        if said is not None:
            self.say("tether", *said)

    def say(self, who: str, text: str, tone: Tone) -> None:
        """Add one line to what happened."""
        entry = Entry(self._now() - self._began, who, text, tone)
        self._entries.append(entry)
        for listener in self._listeners:
            listener(entry)

    def act(self, deed: str, *, ok: bool, mark: str = "", mend: str = "", mend_in: float = 0.0) -> None:
        """Note what the demo does to the server, and what it will do next, in how many seconds."""
        now = self._now()
        self._server, self._server_ok, self._server_at = deed, ok, now
        self._mend, self._mend_at = mend, now + mend_in
        self._mark = mark or self._mark
        self.say("demo", deed, Tone.DEED)

    def beat(self) -> None:
        """Take one sample of the heartbeat."""
        received = self._ledger.counts(self._now()).received
        level = min(1.0, (received - self._seen) / self._expected)
        self._seen = received
        quiet = Flow.SILENT if self._status is Status.CONNECTED else Flow.DOWN
        self._beats.append(Beat(Flow.FLOWING if level > 0 else quiet, level, self._mark))
        self._mark = ""

    # -- the tour -----------------------------------------------------------------------------------------------------

    def begin_round(self) -> None:
        """Begin a round."""
        self.round += 1
        self.earlier += self.results
        self.results = []

    def end_round(self) -> None:
        """End a round: its results are complete."""
        if self._endless:  # otherwise the closing table shows them
            for listener in self._listeners:
                listener(RoundEnded(tuple(self.results)))

    def begin(self, fault: str) -> Outage:
        """Begin a fault: from now on, what happens is its doing."""
        now = self._now()
        self._outage = Outage(fault, self.round, now, self._ledger.counts(now))
        return self._outage

    def end(self) -> Result | None:
        """End the fault under way, and keep its result."""
        return self._close(finished=True)

    def break_off(self) -> None:
        """Keep what is known of a fault that is not seen to its end."""
        self._close(finished=False)

    def _close(self, *, finished: bool) -> Result | None:
        if self._outage is None:
            return None
        result = self._outage.result(self._counts(), finished=finished)
        self._outage = None
        self.results.append(result)
        return result

    def _counts(self) -> Counts:
        return self._ledger.counts(self._now())

    # -- what is shown ------------------------------------------------------------------------------------------------

    def snapshot(self, stats: Figures) -> Snapshot:
        """Return everything as it is now; ``stats`` are the connection's own figures."""
        now = self._now()
        due = self._mend_at - now
        return Snapshot(
            elapsed=now - self._began,
            round=self.round,
            endless=self._endless,
            endpoint=self.endpoint,
            api=self.api,
            status=stats.status,
            status_for=now - self._status_since,
            cause=None if stats.cause is None else replace(stats.cause, error=None),
            attempt=stats.retry_count + 1,
            next_in=stats.next_attempt_in,
            next_of=self._wait,
            last_outage=self._last_outage,
            server=self._server,
            server_ok=self._server_ok,
            server_for=now - self._server_at,
            mend=self._mend,
            mend_in=due if self._mend and due > 0 else None,
            counts=self._counts(),
            beats=tuple(self._beats),
            steps=self._steps(),
            entries=tuple(self._entries),
        )

    def _steps(self) -> tuple[Step, ...]:
        done = {result.fault: result for result in self.results}
        before = {result.fault: result for result in self.earlier}
        return tuple(self._step(name, done.get(name), before.get(name)) for name in self._faults)

    def _step(self, name: str, result: Result | None, before: Result | None) -> Step:
        if result is not None:
            progress = Progress.HEALED if result.healed else Progress.NOT_HEALED
            return Step(name, progress, outcome(result))
        if self._outage is not None and self._outage.fault == name:
            return Step(name, Progress.RUNNING, self._under_way(self._outage))
        return Step(name, Progress.WAITING, f"last round: {outcome(before)}" if before is not None else "")

    def _under_way(self, outage: Outage) -> str:
        """Return what is known of the fault under way."""
        sofar = outage.result(self._counts())
        if sofar.noticed_after is None:
            return "not noticed yet"
        said = [f"noticed after {took(sofar.noticed_after)}"]
        if sofar.back_after is not None:
            said.append(f"back after {took(sofar.back_after)}")
        return " · ".join([*said, *fates(sofar.counts)])
