"""The story of one connection as the world sees it, and what must hold at every turn of it.

Nothing here asks the runtime what it thinks. The account is kept from three sources: what the connector is asked to do,
what the user asks for, and the events; each of them must fit the others.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from tests.simulation.schedule import Options
from tests.simulation.servers import Handle
from tests.simulation.waits import Waits
from tether.core.cause import Cause, Recovery
from tether.core.events import Kind, ReconnectEvent
from tether.core.lifecycle import Status

LEGAL = {
    ("disconnected", "connecting"),
    ("connecting", "connected"),
    ("connecting", "reconnecting"),
    ("connecting", "failed"),
    ("connected", "reconnecting"),
    ("reconnecting", "connected"),
    ("reconnecting", "failed"),
    ("failed", "connecting"),
    *((status.value, "disconnected") for status in Status),
}
"""The moves of the status, from the specification."""

TINY = 1e-6
NEVER = float("-inf")


class Story:
    """What has happened to one connection.

    Args:
        name: the connection's.
        options: how it is set up.
        broken: told which invariant does not hold, and how.
        clock: monotonic seconds.

    Attributes:
        trace: one line for everything that happened.
        dialing: generation of the dial under way, if there is one.
        live: generation of the connection that is up, if there is one.
        due: when the next dial is due, if one is.
    """

    def __init__(
        self,
        name: str,
        options: Options,
        broken: Callable[[str, str], None],
        clock: Callable[[], float],
    ) -> None:
        self.name, self.options, self.now = name, options, clock
        self._broken = broken
        self.waits = Waits(options)
        self.trace: list[tuple[float, str]] = []
        self.counts: dict[Kind, int] = {}
        self.engine: Any = None
        self.status = Status.DISCONNECTED
        self.generation = self.retry_count = 0
        self.paused = self.was_connected = False
        self.dialing: int | None = None
        self.dialing_since = NEVER
        self.live: int | None = None
        self.live_since = NEVER
        self.live_handle: Handle | None = None
        self.due: float | None = None
        self.cause: Cause | None = None
        self.uptime = 0.0
        self.handles: dict[int, Handle] = {}
        self.dials: dict[int, asyncio.Task[Any] | None] = {}
        self.ends: dict[int, float] = {}
        self.watched_since = NEVER
        self.missing = False
        self._reasons: dict[int, set[str]] = {}
        self._probe_began: float | None = None
        self._pass_began: float | None = None
        self._misses = 0
        self._next: Kind | None = None
        self._previous = Kind.STOPPED
        self._quick = False
        self._asked: tuple[float, set[str]] = (NEVER, set())
        self.stalled = 0.0
        self.stall_ended = NEVER
        self._stalled_at_probe = 0.0
        self.stalled_at_dial = 0.0

    def note(self, text: str) -> None:
        """Add a line."""
        self.trace.append((self.now(), text))

    def broken(self, invariant: str, detail: str = "") -> None:
        """Say that something does not hold."""
        self._broken(invariant, f"{self.name}: {detail}")

    def must(self, holds: bool, invariant: str, detail: str = "") -> None:
        """Check one thing."""
        if not holds:
            self.broken(invariant, detail)

    # -- what the user asks for ---------------------------------------------------------------------------------------

    def asks(self, what: str) -> None:
        """Note a command that may lead to a dial at this very moment."""
        at, kinds = self._asked
        self._asked = (self.now(), {*kinds, what} if at == self.now() else {what})

    def _asked_now(self) -> set[str]:
        at, kinds = self._asked
        return kinds if at == self.now() else set()

    def justify(self, generation: int, reason: str) -> None:
        """Something happened that may end the connection of ``generation``."""
        self._reasons.setdefault(generation, set()).add(reason)

    # -- what the connector is asked to do ----------------------------------------------------------------------------

    def opening(self, generation: int, task: asyncio.Task[Any] | None) -> None:
        """A dial reaches the network."""
        self.note(f"open {generation}")
        under_way = [number for number, dial in self.dials.items() if _is_under_way(dial)]
        self.must(not under_way, "one dial at a time", f"{generation} begins while {under_way} go on")
        self.must(self.dialing == generation, "a dial is announced", f"{generation}, not {self.dialing}")
        self.dials = {n: dial for n, dial in self.dials.items() if dial is not None and not dial.done()}
        self.dials[generation] = task

    def opened(self, handle: Handle, credential: object) -> None:
        """A dial has opened a connection."""
        self.note(f"opened {handle.generation}")
        self.waits.dials_with(credential)
        self.handles[handle.generation] = handle
        self._probe_began = None

    def refused(self, credential: object) -> None:
        """A login was refused."""
        self.waits.dials_with(credential)

    def restoring(self, handle: Handle) -> None:
        """A pass of restoring begins."""
        if handle.generation in {self.dialing, self.live}:
            self._pass_began = self.now()

    def restored(self, handle: Handle, *, missing: bool) -> None:
        """A pass of restoring has ended."""
        if handle.generation in {self.dialing, self.live}:
            self.missing, self._pass_began = missing, None

    def probing(self, handle: Handle) -> None:
        """A probe begins."""
        self.must(not self.paused or handle.generation != self.live, "no probe while paused")
        handle.answered = False
        if handle.generation in {self.dialing, self.live}:
            self._probe_began, self._stalled_at_probe = self.now(), self.stalled

    def answered(self, handle: Handle) -> None:
        """A probe was answered in time."""
        handle.answered = True
        if handle.generation in {self.dialing, self.live}:
            self._probe_began, self._misses = None, 0

    def unasked(self, handle: Handle) -> None:
        """A probe could not be made: what it would have found is found by a later one."""
        if handle.generation == self.live:
            self._probe_began, self.watched_since = None, self.now()

    @contextlib.contextmanager
    def old_news(self, generation: int) -> Iterator[None]:
        """What the driver says of a connection that is over changes nothing."""
        self.note(f"lost {generation} says the driver")
        self.justify(generation, "driver")
        current = generation in {self.dialing, self.live}
        nested = bool(self.engine._inbox)
        before = self.engine.link
        yield
        if not current and not nested:
            self.must(self.engine.link == before, "old news changes nothing", f"lost({generation})")

    # -- the events ---------------------------------------------------------------------------------------------------

    def heard(self, event: ReconnectEvent) -> None:
        """Take an event; the runtime would swallow what is raised here."""
        try:
            self._heard(event)
        except Exception as error:
            self.broken("the account can be kept", repr(error))
            raise

    def _heard(self, event: ReconnectEvent) -> None:
        kind = event.kind
        self.note(_line(event))
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self._next is not None and kind is not Kind.DROPPED:
            self.must(kind is self._next, "order of events", f"{kind} instead of {self._next}")
            self._next = None
        move = (self.status.value, event.status.value)
        self.must(move[0] == move[1] or move in LEGAL, "legal transitions", " -> ".join(move))
        self.status = event.status
        handler = _HANDLERS.get(kind)
        if handler is not None:
            handler(self, event)
        self._previous = kind
        if kind is Kind.DROPPED:  # told by a callback's full queue, ahead of the event that did not fit in
            return
        self.must(event.generation == self.generation, "generation", f"{kind}: {event.generation}")
        self.must(event.retry_count == self.retry_count, "retry_count", f"{kind}: {event.retry_count}")

    def _started(self, event: ReconnectEvent) -> None:
        self.must(self.dialing is None and self.live is None, "order of events", "started twice")
        self.retry_count, self.was_connected, self.paused = 0, False, False
        self.cause = self.due = None
        self.waits.started()
        self.asks("start")

    def _attempt_started(self, event: ReconnectEvent) -> None:
        self.must(self.dialing is None and self.live is None, "one dial at a time", "announced")
        self.must(not self.paused, "nothing dials while paused")
        self.must(
            event.status in {Status.CONNECTING, Status.RECONNECTING}, "nothing dials while down", event.status
        )
        self._check_time_of_dial()
        self.generation += 1
        self.dialing, self.dialing_since, self.due = self.generation, self.now(), None
        self.stalled_at_dial, self._probe_began = self.stalled, None

    def _check_time_of_dial(self) -> None:
        asked, now, cause = self._asked_now(), self.now(), self.cause
        if asked & {"start", "force", "call"} or (self.due is not None and now >= self.due - TINY):
            return
        hinted = cause is not None and cause.hint is not None and cause.hint.not_before > now + TINY
        self.must(not hinted, "nothing dials before the hint", f"asked: {sorted(asked)}")
        patient = cause is not None and cause.recovery in {Recovery.REAUTHENTICATE, Recovery.WAIT_FOR_SERVICE}
        allowed = (
            asked & {"resume", "revive"} or ("network" in asked and not patient) or "credential" in asked
        )
        self.must(bool(allowed), "nothing dials before its time", f"due {self.due}, asked: {sorted(asked)}")

    def _attempt_failed(self, event: ReconnectEvent) -> None:
        assert event.cause is not None
        self.must(self.dialing == event.generation, "order of events", "failed without a dial")
        self.dialing, self.cause, self._quick = None, event.cause, False
        self.retry_count += 1
        self._end(event.generation)
        is_last = self.waits.failed(event)
        self._next = Kind.GAVE_UP if is_last else Kind.RETRY_SCHEDULED

    def _retry_scheduled(self, event: ReconnectEvent) -> None:
        assert event.delay is not None
        assert event.cause is not None
        self.must(not self.paused, "nothing dials while paused", "scheduled")
        if self._previous is Kind.RESUMED:  # what is left of the hint
            left = 0.0 if event.cause.hint is None else event.cause.hint.not_before - self.now()
            least, longest = left, left * 1.25
        else:
            least, longest = self.waits.bounds(event.cause, self.now(), quick=self._quick)
        fits = least - TINY <= event.delay <= longest + TINY
        self.must(fits, "the wait that was promised", f"{event.delay} is not in [{least}, {longest}]")
        self.due = self.now() + event.delay

    def _connected(self, event: ReconnectEvent) -> None:
        handle = self.handles.get(event.generation)
        self.must(self.dialing == event.generation, "order of events", "connected without a dial")
        ready = handle is not None and handle.answered and not handle.ended
        self.must(ready, "connected means a round trip after restore")
        again = event.kind is Kind.RECONNECTED
        self.must(again == self.was_connected, "on_reconnect not on first connect")
        self.dialing, self.live, self.live_handle = None, event.generation, handle
        self.live_since = self.watched_since = self.now()
        self.was_connected, self.retry_count, self.cause, self._misses = True, 0, None, 0
        self.waits.connected()

    def _lost(self, event: ReconnectEvent) -> None:
        assert event.cause is not None
        self.must(self.live == event.generation, "one loss per connection")
        stable = self.now() - self.live_since >= self.options.stable_after
        self._quick = stable and self.options.quick
        self.cause = event.cause
        if event.cause.detail == "forced":
            self.must("force" in self._asked_now(), "no loss without a reason", "forced")
            self.waits.lost(event, stable=stable)
            self._next = Kind.ATTEMPT_STARTED
        else:
            reasons = self._reasons.get(event.generation, set()) - {"probe"}
            missed = self._misses >= self.options.threshold
            overdue = self.now() - (self.now() if self._pass_began is None else self._pass_began)
            missed = missed or overdue >= self.options.connect_timeout - TINY
            self.must(bool(reasons) or missed, "no loss without a reason", f"{event.cause.code.value}")
            exhausted = self.waits.lost(event, stable=stable)
            following = None if self.paused else Kind.RETRY_SCHEDULED
            self._next = Kind.GAVE_UP if exhausted else following
            if self.paused and not exhausted:  # the backoff grows all the same
                self.waits.bounds(event.cause, self.now(), quick=self._quick)
        self._take_down(event.generation)

    def _probe_failed(self, event: ReconnectEvent) -> None:
        erred = "probe" in self._reasons.get(event.generation, set())
        stalled = self.stalled - self._stalled_at_probe
        waited = self.now() - (self._probe_began or 0.0) - stalled
        late = (
            stalled or self._probe_began == self.stall_ended
        )  # a slice of the deadline may have gone unseen
        silent = (
            self._probe_began is not None and waited >= self.options.timeout * (0.5 if late else 1) - TINY
        )
        self.must(erred or silent, "no verdict before its time", f"waited {waited}")
        self._misses += 1

    def _gave_up(self, event: ReconnectEvent) -> None:
        self.must(self.live is None and self.dialing is None, "order of events", "gave up while it goes on")
        self.due = None

    def _revived(self, event: ReconnectEvent) -> None:
        asked = self._asked_now()
        self.must(bool(asked), "only the user or news revives")
        self.waits.revived()
        self.asks("revive")

    def _paused(self, event: ReconnectEvent) -> None:
        self.paused, self.due = True, None
        if self.dialing is not None:
            self._end(self.dialing)
            self.dialing = None

    def _resumed(self, event: ReconnectEvent) -> None:
        self.paused, self.watched_since = False, self.now()
        self.asks("resume")

    def _stopped(self, event: ReconnectEvent) -> None:
        self.due, self.paused = None, False
        if self.dialing is not None:
            self._end(self.dialing)
            self.dialing = None
        if self.live is not None:
            self._take_down(self.live)

    def _host_resumed(self, event: ReconnectEvent) -> None:
        self.asks("network")

    def forget_loop(self) -> None:
        """The loop has ended under it: whatever went on is over, and nobody was told."""
        self.status, self.paused = Status.DISCONNECTED, False
        self.dialing = self.live = self.live_handle = self.due = self._next = None
        self.missing = False
        self.dials.clear()

    def _take_down(self, generation: int) -> None:
        self.uptime += self.now() - self.live_since
        self.live = self.live_handle = None
        self.missing = False
        self._end(generation)

    def _end(self, generation: int) -> None:
        self.ends[generation] = self.now()


_HANDLERS: dict[Kind, Callable[[Story, ReconnectEvent], None]] = {
    Kind.STARTED: Story._started,
    Kind.ATTEMPT_STARTED: Story._attempt_started,
    Kind.ATTEMPT_FAILED: Story._attempt_failed,
    Kind.RETRY_SCHEDULED: Story._retry_scheduled,
    Kind.CONNECTED: Story._connected,
    Kind.RECONNECTED: Story._connected,
    Kind.LOST: Story._lost,
    Kind.PROBE_FAILED: Story._probe_failed,
    Kind.GAVE_UP: Story._gave_up,
    Kind.REVIVED: Story._revived,
    Kind.PAUSED: Story._paused,
    Kind.RESUMED: Story._resumed,
    Kind.STOPPED: Story._stopped,
    Kind.HOST_RESUMED: Story._host_resumed,
}


def _is_under_way(dial: asyncio.Task[Any] | None) -> bool:
    """Whether a dial goes on, and has not been told to end."""
    return dial is not None and not dial.done() and not dial.cancelling()


def _line(event: ReconnectEvent) -> str:
    code = "" if event.cause is None else f" {event.cause.code.value}"
    delay = "" if event.delay is None else f" in {event.delay:.6f}"
    return f"{event.kind.value} g={event.generation} n={event.retry_count} {event.status.value}{code}{delay}"
