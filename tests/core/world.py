"""A model of the world around one connection: carries out what the machine asks for, on a clock that only tests move.

There is room for one timer, one dial and one live connection in it, as in the runtime. Whatever the machine asks for
that does not fit is an assertion error, so every test that drives a ``World`` checks the invariants too.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import pairwise

from hypothesis import settings

from tether.backoff import exponential_backoff
from tether.core import effects as eff
from tether.core import signals as sig
from tether.core.backoff import Rand
from tether.core.cause import Cause, Code, Phase
from tether.core.events import Kind
from tether.core.hint import RetryHint
from tether.core.lifecycle import TRANSITIONS, Status
from tether.core.link import Activity, Fact, Link
from tether.core.machine import Step, step
from tether.core.schedule import Plan
from tether.errors import IllegalTransition

deterministic = settings(derandomize=True, deadline=None)
"""The same examples in every run, and no real time."""

EDGES = {(before, after) for before, row in TRANSITIONS.items() for after in row.values()}


def lin(n: int) -> float:
    """A backoff that is easy to read in a test: 10, 20, 30 … seconds."""
    return 10.0 * (n + 1)


def half() -> float:
    """Dice that always show the middle."""
    return 0.5


class Middle(random.Random):
    """A random source of the same kind."""

    def random(self) -> float:
        return 0.5


FOR_EVER = Plan(lin)
DOUBLING = exponential_backoff(1, 2, maximum=60)


def place_id(value: object) -> str:
    return str(value)


class World:
    """One connection and what is around it.

    Attributes:
        timer: when the scheduled signal is due, and the generation that it carries.
        dialing: generation of the attempt under way.
        live: generation of the live connection.
        last: what the latest signal led to.
        facts: everything told so far.
        effects: everything asked for so far.
        adopted: how often each generation became the live connection.
        ended: how often each generation's connection was dropped or closed.
    """

    def __init__(self, plan: Plan | None = None, rand: Rand = half) -> None:
        self.plan = Plan(lin) if plan is None else plan
        self.rand = rand
        self.now = 1000.0
        self.link = Link()
        self.timer: tuple[float, int] | None = None
        self.dialing: int | None = None
        self.live: int | None = None
        self.last = Step(self.link)
        self.facts: list[Fact] = []
        self.effects: list[eff.Effect] = []
        self.adopted: Counter[int] = Counter()
        self.ended: Counter[int] = Counter()
        self._opened: int | None = None

    # -- signals ------------------------------------------------------------------------------------------------------

    def feed(self, signal: sig.Signal) -> Step:
        """Hand a signal to the machine, carry out what it asks for, and check what must always hold."""
        before = self.link
        self._take_in(signal)
        try:
            outcome = step(self.link, signal, self.now, self.plan, self.rand)
        except IllegalTransition:
            assert self.link is before
            raise
        self.link, self.last = outcome.link, outcome
        self.facts += outcome.facts
        self.effects += outcome.effects
        for effect in outcome.effects:
            self._perform(effect)
        assert self._opened is None, f"the connection of dial {self._opened} was neither adopted nor dropped"
        self._check(before, outcome)
        return outcome

    def _take_in(self, signal: sig.Signal) -> None:
        """What must have happened outside for this signal to come."""
        match signal:
            case sig.Elapsed(generation) if self.timer is not None and self.timer[1] == generation:
                self.timer = None
            case sig.Failed(generation) if self.dialing == generation:
                self.dialing = None
            case sig.Succeeded(generation) if generation != self.live:
                self._opened = generation
                if self.dialing == generation:
                    self.dialing = None
            case _:
                pass

    def _perform(self, effect: eff.Effect) -> None:
        match effect:
            case eff.Dial(generation):
                assert self.dialing is None, "a dial while one is under way"
                assert self.live is None, "a dial while connected"
                assert self.timer is None, "a dial while one is scheduled"
                self.dialing = generation
            case eff.CancelDial(generation):
                assert self.dialing == generation
                self.dialing = None
            case eff.Adopt(generation):
                assert self.live is None, "two live connections"
                assert self._opened == generation
                self.live, self._opened = generation, None
                self.adopted[generation] += 1
            case eff.Abandon(generation) if generation == self._opened:
                assert generation != self.live
                self._opened = None
            case eff.Abandon(generation) | eff.Release(generation):
                assert self.live == generation
                self.live = None
                self.ended[generation] += 1
            case eff.Schedule(delay, generation):
                assert self.timer is None, "two timers"
                assert math.isfinite(delay)
                assert delay >= 0
                self.timer = (self.now + delay, generation)
            case eff.Unschedule():
                self.timer = None
            case eff.Probe():
                assert self.live is not None
            case eff.StopProbing():
                assert self.live is not None

    def _check(self, before: Link, outcome: Step) -> None:
        link = self.link
        self._check_activity(link)
        self._check_figures(before, link)
        self._check_facts(before, outcome)

    def _check_activity(self, link: Link) -> None:
        """The link says exactly what is going on, and something is: a started connection is never left alone."""
        assert self.dialing == (link.generation if link.activity is Activity.DIALING else None)
        assert self.live == (link.generation if link.activity is Activity.LIVE else None)
        assert self.timer == (None if link.due_at is None else (link.due_at, link.generation))
        assert link.due_at is None or link.activity is Activity.WAITING
        assert (link.status is Status.CONNECTED) == (link.activity is Activity.LIVE)
        assert (link.status in {Status.DISCONNECTED, Status.FAILED}) == (link.activity is Activity.IDLE)
        assert not (link.paused and link.status is Status.DISCONNECTED)
        if link.activity is Activity.WAITING:
            assert link.paused == (self.timer is None)
        if link.paused:
            assert self.dialing is None
            assert self.timer is None

    @staticmethod
    def _check_figures(before: Link, link: Link) -> None:
        assert link.generation >= before.generation
        assert link.retry_count >= 0
        assert link.level >= 0
        if link.status is Status.CONNECTED:
            assert link.retry_count == 0
            assert link.cause is None
            assert link.down_since is None
        else:
            assert not link.degraded
        if link.status in {Status.CONNECTING, Status.RECONNECTING, Status.FAILED}:
            assert link.down_since is not None

    @staticmethod
    def _check_facts(before: Link, outcome: Step) -> None:
        """Consecutive statuses are edges of the table, and what is told is what is done."""
        statuses = [before.status, *(fact.status for fact in outcome.facts)]
        for old, new in pairwise(statuses):
            assert old == new or (old, new) in EDGES
        assert statuses[-1] == outcome.link.status, "the status moved without a word"
        for fact in outcome.facts:
            assert before.generation <= fact.generation <= outcome.link.generation
        dials = [effect.generation for effect in outcome.effects if isinstance(effect, eff.Dial)]
        assert dials == [fact.generation for fact in outcome.facts if fact.kind is Kind.ATTEMPT_STARTED]
        delays = [effect.delay for effect in outcome.effects if isinstance(effect, eff.Schedule)]
        told = [fact.delay for fact in outcome.facts if fact.kind is Kind.RETRY_SCHEDULED]
        assert delays == told

    # -- what happens, in words ---------------------------------------------------------------------------------------

    def start(self) -> None:
        self.feed(sig.Start())

    def stop(self) -> None:
        self.feed(sig.Stop())

    def succeed(self) -> None:
        """The dial under way gets through."""
        assert self.dialing is not None
        self.feed(sig.Succeeded(self.dialing))

    def fail(self, code: Code = Code.TIMEOUT, *, hint: float | None = None, after: float = 0.0) -> None:
        """The dial under way fails; ``hint`` seconds from now the peer wants to see us again."""
        assert self.dialing is not None
        self.now += after
        self.feed(sig.Failed(self.dialing, self.cause(code, hint, Phase.TCP)))

    def lose(self, code: Code = Code.RESET, *, hint: float | None = None, after: float = 0.0) -> None:
        """The live connection dies, ``after`` seconds from now."""
        assert self.live is not None
        self.now += after
        self.feed(sig.Lost(self.live, self.cause(code, hint, Phase.READY)))

    def cause(self, code: Code, hint: float | None = None, phase: Phase = Phase.READY) -> Cause:
        return Cause(code, phase, hint=None if hint is None else RetryHint(self.now + hint))

    def elapse(self) -> float:
        """Let the scheduled time come; return how long that took."""
        assert self.timer is not None
        due, generation = self.timer
        waited = due - self.now
        self.now = due
        self.feed(sig.Elapsed(generation))
        return waited

    # -- how to get there ---------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """From nothing to connected."""
        self.start()
        self.succeed()

    def connect_stable(self) -> None:
        """From nothing to connected, and that for long enough."""
        self.connect()
        self.now += self.plan.stable_after

    def fail_until_given_up(self, code: Code = Code.TIMEOUT, limit: int = 100) -> int:
        """Fail every attempt until the machine gives up; return the number of attempts that it took."""
        for attempt in range(limit):
            if self.link.status is Status.FAILED:
                return attempt
            if self.dialing is None:
                self.elapse()
            self.fail(code)
        raise AssertionError(f"still not given up after {limit} attempts")

    # -- what came of it ----------------------------------------------------------------------------------------------

    @property
    def delay(self) -> float | None:
        """Seconds until the scheduled attempt."""
        return None if self.timer is None else self.timer[0] - self.now

    @property
    def dials(self) -> list[eff.Dial]:
        return [effect for effect in self.effects if isinstance(effect, eff.Dial)]

    def told(self, kind: Kind) -> list[Fact]:
        return [fact for fact in self.facts if fact.kind is kind]

    @property
    def kinds(self) -> list[Kind]:
        """What the latest signal was told as."""
        return [fact.kind for fact in self.last.facts]


def at(status: Status, activity: Activity, *, paused: bool = False) -> World:
    """Return a world in the given place."""
    world = World()
    match status, activity:
        case Status.DISCONNECTED, _:
            pass
        case Status.CONNECTING, Activity.DIALING:
            world.start()
        case Status.CONNECTING, _:
            world.start()
            world.fail()
        case Status.CONNECTED, _:
            world.connect()
        case Status.RECONNECTING, Activity.DIALING:
            world.connect()
            world.lose()
            world.elapse()
        case Status.RECONNECTING, _:
            world.connect()
            world.lose()
        case Status.FAILED, _:
            world.plan = Plan(lin, max_retries=0)
            world.start()
            world.fail()
            world.plan = Plan(lin)
    if paused:
        world.feed(sig.Pause())
    else:
        assert world.link.activity is activity
    assert world.link.status is status
    return world


PLACES = [
    (Status.DISCONNECTED, Activity.IDLE),
    (Status.CONNECTING, Activity.DIALING),
    (Status.CONNECTING, Activity.WAITING),
    (Status.CONNECTED, Activity.LIVE),
    (Status.RECONNECTING, Activity.DIALING),
    (Status.RECONNECTING, Activity.WAITING),
    (Status.FAILED, Activity.IDLE),
]
"""Every combination of status and activity that there is."""

STARTED = [place for place in PLACES if place[0] is not Status.DISCONNECTED]
