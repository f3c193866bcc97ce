"""Any signals, in any order, with generations right, stale and from the future: what always holds, holds.

The model of the world in ``tests.core.world`` checks itself after every signal. Here chance decides what happens in it.
"""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.core.world import World, deterministic
from tether.backoff import exponential_backoff, fixed_interval, grpc_backoff, linear_backoff
from tether.core import effects as eff
from tether.core import signals as sig
from tether.core.backoff import Backoff
from tether.core.cause import Cause, Code, Phase, Recovery
from tether.core.events import Kind
from tether.core.hint import RetryHint
from tether.core.lifecycle import Status
from tether.core.link import Activity
from tether.core.schedule import Plan
from tether.errors import IllegalTransition

INTERVALS: list[Backoff] = [
    exponential_backoff(1, 2, maximum=60),
    linear_backoff(5),
    fixed_interval(0),
    grpc_backoff(),
    lambda _: float("nan"),
    lambda _: -1.0,
    lambda _: float("inf"),
]

plans = st.builds(
    Plan,
    interval=st.sampled_from(INTERVALS),
    max_retries=st.sampled_from([None, 0, 1, 3]),
    stable_after=st.sampled_from([0.0, 10.0]),
    reauth_delay=st.sampled_from([0.0, 1.0]),
    quick_first=st.booleans(),
)
hints = st.none() | st.sampled_from([-5.0, 0.0, 5.0, 600.0])
codes = st.sampled_from(Code)
phases = st.sampled_from(Phase)
WITHOUT_GENERATION: list[sig.Signal] = [
    sig.Start(),
    sig.Stop(),
    sig.Force(),
    sig.NetworkChanged(),
    sig.CredentialChanged(),
    sig.CallSucceeded(),
    sig.Pause(),
    sig.Resume(),
]


class AnythingHappens(RuleBasedStateMachine):
    """A connection that everything happens to."""

    @initialize(plan=plans, dice=st.randoms(use_true_random=False))
    def begin(self, plan: Plan, dice: object) -> None:
        self.world = World(plan, dice.random)  # type: ignore[attr-defined]
        self.spent = self.extra = 0
        """Our own count of failures that use up attempts, and of attempts beyond ``max_retries``."""

    def feed(self, signal: sig.Signal) -> None:
        self.world.feed(signal)
        for kind in self.world.kinds:
            if kind in {Kind.STARTED, Kind.REVIVED, Kind.LOST}:
                self.spent, self.extra = 0, int(kind is not Kind.LOST)

    @property
    def is_known(self) -> bool:
        """Whether there was a connection since the latest start."""
        for fact in reversed(self.world.facts):
            if fact.kind in {Kind.STARTED, Kind.CONNECTED}:
                return fact.kind is Kind.CONNECTED
        return False

    def is_exhausted(self) -> bool:
        most = self.world.plan.max_retries
        return most is not None and self.spent >= most + self.extra

    def cause(self, code: Code, hint: float | None, phase: Phase) -> Cause:
        return Cause(code, phase, hint=None if hint is None else RetryHint(self.world.now + hint))

    # -- what happens in the order in which it should ------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.0, 0.05, 1.0, 9.99, 10.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.now += seconds

    @precondition(lambda self: self.world.link.status is Status.DISCONNECTED)
    @rule()
    def start(self) -> None:
        self.feed(sig.Start())
        assert self.world.dialing is not None
        assert self.world.link.retry_count == self.world.link.level == 0

    @precondition(lambda self: self.world.timer is not None)
    @rule()
    def elapse(self) -> None:
        self.world.elapse()
        assert self.world.dialing is not None

    @precondition(lambda self: self.world.dialing is not None)
    @rule()
    def succeed(self) -> None:
        generation, is_first = self.world.dialing, not self.is_known
        self.world.succeed()
        assert self.world.live == generation
        assert self.world.kinds == [Kind.CONNECTED if is_first else Kind.RECONNECTED]

    @precondition(lambda self: self.world.dialing is not None)
    @rule(code=codes, hint=hints, phase=phases)
    def fail(self, code: Code, hint: float | None, phase: Phase) -> None:
        before, cause = self.world.link, self.cause(code, hint, phase)
        assert self.world.dialing is not None
        self.feed(sig.Failed(self.world.dialing, cause))
        after = self.world.link
        assert after.retry_count == before.retry_count + 1
        assert after.cause == cause
        self.spent += code is not Code.OVERLOADED
        is_worthless = code is Code.AUTH and not after.credential_worked and after.refusals >= 2
        gives_up = self.is_exhausted() or is_worthless or cause.recovery is Recovery.NONE
        assert (after.status is Status.FAILED) is gives_up
        self.is_followed_up(cause)

    @precondition(lambda self: self.world.live is not None)
    @rule(code=codes, hint=hints, phase=phases)
    def lose(self, code: Code, hint: float | None, phase: Phase) -> None:
        assert self.world.live is not None
        cause = self.cause(code, hint, phase)
        self.feed(sig.Lost(self.world.live, cause))
        assert self.world.live is None
        gives_up = self.is_exhausted() and cause.recovery is not Recovery.NONE
        assert (self.world.link.status is Status.FAILED) is gives_up
        assert [fact.cause for fact in self.world.last.facts if fact.kind is Kind.LOST] == [cause]
        self.is_followed_up(cause)

    def is_followed_up(self, cause: Cause) -> None:
        """After a loss or a failure: another attempt no earlier than asked, or a word that there will be none."""
        world = self.world
        if world.timer is not None:
            assert cause.recovery is not Recovery.NONE
            assert cause.hint is None or world.timer[0] >= cause.hint.not_before
        elif not world.link.paused:
            assert world.kinds[-1] in {Kind.GAVE_UP, Kind.STOPPED}

    @precondition(lambda self: self.world.live is not None)
    @rule(missing=st.integers(0, 2))
    def restore(self, missing: int) -> None:
        assert self.world.live is not None
        self.world.feed(sig.Restored(self.world.live, missing))
        assert self.world.link.degraded is (missing > 0)

    # -- what happens at any time -------------------------------------------------------------------------------------

    @rule(signal=st.sampled_from(WITHOUT_GENERATION))
    def whatever(self, signal: sig.Signal) -> None:
        before, facts = self.world.link, len(self.world.facts)
        if self.is_illegal(signal):
            with pytest.raises(IllegalTransition):
                self.feed(signal)
            assert self.world.link == before
            assert len(self.world.facts) == facts
            return
        self.feed(signal)
        is_new = isinstance(signal, sig.Start)
        assert self.world.link.retry_count == (0 if is_new else before.retry_count)
        if isinstance(signal, sig.Stop):
            assert self.world.link.status is Status.DISCONNECTED
        if isinstance(signal, sig.Pause):
            assert self.world.link.paused

    def is_illegal(self, signal: sig.Signal) -> bool:
        link = self.world.link
        is_stopped = link.status is Status.DISCONNECTED
        match signal:
            case sig.Start():
                return not is_stopped
            case sig.Force():
                return is_stopped or link.paused
            case sig.Pause():
                return is_stopped
        return False

    @rule(
        off=st.integers(-3, 3),
        kind=st.sampled_from(["elapsed", "succeeded", "failed", "lost", "restored"]),
        code=codes,
    )
    def old_news(self, off: int, kind: str, code: Code) -> None:
        """A signal of another generation, or of this one at the wrong moment, tears nothing down."""
        world, link = self.world, self.world.link
        generation = link.generation + off
        if off == 0 and self.is_awaited(kind):
            return
        signals: dict[str, sig.Signal] = {
            "elapsed": sig.Elapsed(generation),
            "succeeded": sig.Succeeded(generation),
            "failed": sig.Failed(generation, Cause(code)),
            "lost": sig.Lost(generation, Cause(code)),
            "restored": sig.Restored(generation, 1),
        }
        outcome = world.feed(signals[kind])
        assert world.link == link
        assert world.kinds == ([Kind.EVIDENCE] if kind in {"failed", "lost"} else [])
        late = kind == "succeeded" and generation != world.live
        assert outcome.effects == ((eff.Abandon(generation),) if late else ())

    def is_awaited(self, kind: str) -> bool:
        return {
            "elapsed": self.world.timer is not None,
            "succeeded": self.world.dialing is not None,
            "failed": self.world.dialing is not None,
            "lost": self.world.live is not None,
            "restored": self.world.live is not None,
        }[kind]

    @rule(plan=plans)
    def settings_change(self, plan: Plan) -> None:
        self.world.plan = plan

    # -- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def every_connection_ends_once(self) -> None:
        world = self.world
        for generation, times in world.adopted.items():
            assert times == 1
            assert world.ended[generation] == (0 if generation == world.live else 1)
        assert set(world.ended) <= set(world.adopted)

    @invariant()
    def every_dial_has_a_number_of_its_own(self) -> None:
        assert [dial.generation for dial in self.world.dials] == list(
            range(1, self.world.link.generation + 1)
        )

    @invariant()
    def nothing_begins_while_paused(self) -> None:
        if self.world.link.paused:
            assert not [
                e for e in self.world.last.effects if isinstance(e, (eff.Dial, eff.Schedule, eff.Probe))
            ]

    def teardown(self) -> None:
        """Whatever has happened: once the peer is well it is connected again, and it can be stopped for good."""
        if not hasattr(self, "world"):
            return
        world = self.world
        if world.link.status in {Status.CONNECTING, Status.RECONNECTING}:
            world.feed(sig.Resume())
            if world.timer is not None:
                world.elapse()
            world.succeed()
            assert world.live is not None
        elif world.link.status is Status.FAILED:
            world.feed(sig.Resume())
            world.feed(sig.Force())
            world.succeed()
            assert world.live is not None
        world.stop()
        assert world.link.activity is Activity.IDLE
        assert (world.timer, world.dialing, world.live) == (None, None, None)
        self.every_connection_ends_once()
        for signal in WITHOUT_GENERATION[1:]:
            try:
                world.feed(signal)
            except IllegalTransition:
                continue
            assert world.last.effects == (), signal


TestAnyOrderOfSignals = AnythingHappens.TestCase
TestAnyOrderOfSignals.settings = settings(deterministic, max_examples=300, stateful_step_count=60)
