"""Any signals, in any order, with generations right, stale and from the future: what always holds, holds.

The model of the world in ``tests.core.world`` checks itself after every signal. Here chance decides what happens in it.
"""

from __future__ import annotations

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

    def cause(self, code: Code, hint: float | None, phase: Phase) -> Cause:
        return Cause(code, phase, hint=None if hint is None else RetryHint(self.world.now + hint))

    # -- what happens in the order in which it should ------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.0, 0.05, 1.0, 9.99, 10.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.now += seconds

    @precondition(lambda self: self.world.link.status is Status.DISCONNECTED)
    @rule()
    def start(self) -> None:
        self.world.start()
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
        generation = self.world.dialing
        self.world.succeed()
        assert self.world.live == generation

    @precondition(lambda self: self.world.dialing is not None)
    @rule(code=codes, hint=hints, phase=phases)
    def fail(self, code: Code, hint: float | None, phase: Phase) -> None:
        before, cause = self.world.link, self.cause(code, hint, phase)
        assert self.world.dialing is not None
        self.world.feed(sig.Failed(self.world.dialing, cause))
        assert self.world.link.retry_count == before.retry_count + 1
        assert self.world.link.cause == cause
        self.is_followed_up(cause)

    @precondition(lambda self: self.world.live is not None)
    @rule(code=codes, hint=hints, phase=phases)
    def lose(self, code: Code, hint: float | None, phase: Phase) -> None:
        assert self.world.live is not None
        cause = self.cause(code, hint, phase)
        self.world.feed(sig.Lost(self.world.live, cause))
        assert self.world.live is None
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
        try:
            self.world.feed(signal)
        except IllegalTransition:
            assert self.world.link == before
            assert len(self.world.facts) == facts
            assert isinstance(signal, (sig.Start, sig.Force, sig.Pause))
            return
        if isinstance(signal, sig.Stop):
            assert self.world.link.status is Status.DISCONNECTED
        if isinstance(signal, sig.Pause):
            assert self.world.link.paused

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
        assert {fact.kind for fact in outcome.facts} <= {Kind.EVIDENCE}
        assert outcome.effects == ((eff.Abandon(generation),) if kind == "succeeded" else ())

    def is_awaited(self, kind: str) -> bool:
        return {
            "elapsed": self.world.timer is not None,
            # A dial ends once; what a second success of the live generation does has a test of its own.
            "succeeded": self.world.dialing is not None or self.world.live is not None,
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
