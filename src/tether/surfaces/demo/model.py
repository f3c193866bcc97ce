"""What is shown and what was measured, as frozen data. Times are seconds; moments count from the demo's start."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tether.core.cause import Cause
from tether.core.lifecycle import Status
from tether.surfaces.words import Tone


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of what happened.

    Attributes:
        at: when.
        who: ``demo``, ``tether`` or ``log``.
        text: one line.
        tone: how it is meant.
    """

    at: float
    who: str
    text: str
    tone: Tone


class Flow(StrEnum):
    """What a sample of the heartbeat found."""

    FLOWING = "flowing"
    SILENT = "silent"
    """Connected as far as anybody knows, but nothing came."""
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Beat:
    """One sample of the heartbeat.

    Attributes:
        flow: what it found.
        level: messages that came, as a share of what should have come; 0 … 1.
        mark: what the demo did to the server during it, or ''.
    """

    flow: Flow
    level: float = 0.0
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of messages.

    Attributes:
        sent: acknowledged by the server.
        received: seen by the subscriber.
        missed: acknowledged, and not seen within half a second.
        refused: never left, because the connection was down; the publisher was told at once.
        unsure: under way when the connection was lost; nobody can know.
    """

    sent: int = 0
    received: int = 0
    missed: int = 0
    refused: int = 0
    unsure: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.sent + other.sent,
            self.received + other.received,
            self.missed + other.missed,
            self.refused + other.refused,
            self.unsure + other.unsure,
        )

    def __sub__(self, other: Counts) -> Counts:
        return Counts(
            self.sent - other.sent,
            self.received - other.received,
            self.missed - other.missed,
            self.refused - other.refused,
            self.unsure - other.unsure,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one fault did, and how the connection took it.

    Attributes:
        fault: its name.
        round: in which round of the tour.
        noticed_after: from the fault to the loss being noticed; ``None`` if it never was.
        cause: the cause that the loss was given.
        then: the codes of the attempts that failed, each once, in order.
        back_after: from the server accepting again to being connected; ``None`` if it never was.
        attempts: dials that it took.
        counts: messages from the fault on until they flowed again for a while.
        flowed: whether messages flowed again.
        finished: whether the demo saw it to its end.
    """

    fault: str
    round: int = 1
    noticed_after: float | None = None
    cause: Cause | None = None
    then: tuple[str, ...] = ()
    back_after: float | None = None
    attempts: int = 0
    counts: Counts = Counts()
    flowed: bool = False
    finished: bool = True

    @property
    def healed(self) -> bool:
        """Noticed, connected again, and messages flow again."""
        return self.noticed_after is not None and self.back_after is not None and self.flowed


@dataclass(frozen=True, slots=True)
class RoundEnded:
    """A round of the tour is over."""

    results: tuple[Result, ...]


class Progress(StrEnum):
    """How far a step of the tour is."""

    WAITING = "waiting"
    RUNNING = "running"
    HEALED = "healed"
    NOT_HEALED = "not healed"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the tour, as shown.

    Attributes:
        name: the fault's name.
        progress: how far it is.
        text: what is to be said about it.
    """

    name: str
    progress: Progress
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that the view shows at one moment.

    Attributes:
        elapsed: since the demo's start.
        round: which round of the tour.
        endless: whether the tour repeats.
        endpoint: where the server is.
        api: where the state is served over HTTP, or ''.
        status: of the connection.
        status_for: how long it has been that.
        cause: of the last loss or failed attempt; ``None`` while connected.
        attempt: number of the attempt that is under way or next.
        next_in: until the next attempt; ``None`` when none is due.
        next_of: how long that wait is in all.
        last_outage: how long the last outage was, once it is over.
        server: what the demo last did to the server, in words.
        server_ok: whether the server is well.
        server_for: how long ago that was.
        mend: what the demo will do next to the server, in words, or ''.
        mend_in: in how many seconds.
        counts: of messages since the start.
        beats: the heartbeat, oldest first.
        steps: the tour.
        entries: what happened, oldest first.
    """

    elapsed: float
    round: int
    endless: bool
    endpoint: str
    status: Status
    status_for: float
    cause: Cause | None
    attempt: int
    next_in: float | None
    next_of: float | None
    last_outage: float | None
    server: str
    server_ok: bool
    server_for: float
    mend: str
    mend_in: float | None
    counts: Counts
    beats: tuple[Beat, ...]
    steps: tuple[Step, ...]
    entries: tuple[Entry, ...]
    api: str = ""
