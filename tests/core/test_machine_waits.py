"""How long the state machine waits: flapping servers, stable connections, hints, slow failures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.world import DOUBLING, Middle, World, deterministic, lin
from tether.backoff import exponential_backoff, fixed_interval, grpc_backoff
from tether.core import signals as sig
from tether.core.cause import Cause, Code, Recovery
from tether.core.lifecycle import Status
from tether.core.schedule import Plan


class TestFlapping:
    """Two counters: the count is cleared by ``connected``, the backoff only by a connection that lasts."""

    def flap(self, world: World, times: int, lasting: float = 0.05) -> list[float]:
        """Let the server accept and drop; return the waits."""
        waits = []
        for _ in range(times):
            world.succeed()
            world.lose(after=lasting)
            waits.append(world.elapse())
        return waits

    def test_a_server_that_accepts_and_drops_sees_ever_longer_pauses(self) -> None:
        world = World(Plan(DOUBLING))
        world.start()
        assert self.flap(world, 9) == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60, 60])

    def test_it_sees_three_connects_in_three_seconds_not_fifty_seven(self) -> None:
        world = World(Plan(DOUBLING))
        began = world.now
        world.start()
        connects = 0
        while world.now - began <= 3.0:
            self.flap(world, 1)
            connects += 1
        assert connects == 2

    def test_the_count_of_failures_is_cleared_all_the_same(self) -> None:
        world = World(Plan(DOUBLING, max_retries=1))
        world.start()
        self.flap(world, 50)
        assert world.link.retry_count == 0
        assert world.link.status is Status.RECONNECTING

    def test_failed_attempts_in_between_let_it_grow_too(self) -> None:
        world = World(Plan(DOUBLING))
        world.start()
        self.flap(world, 2)
        world.fail()
        assert world.elapse() == 4
        assert self.flap(world, 1) == pytest.approx([8])

    @pytest.mark.parametrize(("lasting", "is_forgotten"), [(9.99, False), (10.0, True), (3600.0, True)])
    def test_it_is_forgotten_once_a_connection_lasted_for_stable_after(
        self, lasting: float, is_forgotten: bool
    ) -> None:
        world = World(Plan(DOUBLING, stable_after=10.0, quick_first=False))
        world.start()
        self.flap(world, 4)
        assert self.flap(world, 2, lasting) == pytest.approx([1, 1] if is_forgotten else [16, 32])

    def test_the_time_of_the_dial_does_not_make_a_connection_stable(self) -> None:
        world = World(Plan(DOUBLING, quick_first=False))
        world.start()
        self.flap(world, 3)
        world.now += 9.0
        assert self.flap(world, 1, lasting=2.0) == pytest.approx([8])

    def test_a_reconnect_that_is_forced_in_between_does_not_make_it_forget(self) -> None:
        world = World(Plan(DOUBLING))
        world.start()
        self.flap(world, 3)
        world.succeed()
        world.feed(sig.Force())
        world.fail()
        assert world.delay == 8.0

    def test_stable_after_is_a_setting(self) -> None:
        world = World(Plan(DOUBLING, stable_after=0.01, quick_first=False))
        world.start()
        assert self.flap(world, 5) == pytest.approx([1, 1, 1, 1, 1])

    def test_the_flag_goes_up_after_a_few_and_down_once_stable(self) -> None:
        world = World(Plan(DOUBLING))
        world.start()
        flags = []
        for _ in range(5):
            self.flap(world, 1)
            flags.append(world.link.is_flapping(world.now, 10.0))
        assert flags == [False, False, True, True, True]
        world.succeed()
        assert world.link.is_flapping(world.now + 9.99, 10.0)
        assert not world.link.is_flapping(world.now + 10.0, 10.0)
        world.lose(after=10.0)
        assert not world.link.is_flapping(world.now, 10.0)

    @deterministic
    @given(st.lists(st.tuples(st.booleans(), st.floats(0, 9.9)), min_size=1, max_size=40))
    def test_no_mixture_of_failures_and_short_lives_makes_it_forget(
        self, story: list[tuple[bool, float]]
    ) -> None:
        world = World(Plan(DOUBLING))
        world.start()
        waits = []
        for accepted, lasting in story:
            if accepted:
                world.succeed()
                world.lose(after=lasting)
            else:
                world.fail(after=lasting)
            waits.append(world.elapse())
        assert waits == pytest.approx([min(60.0, 2.0**n) for n in range(len(story))])


class TestAfterAStableConnection:
    @pytest.mark.parametrize("rand", [0.0, 0.25, 0.999])
    @pytest.mark.parametrize(
        ("interval", "most"),
        [(fixed_interval(30), 0.1), (fixed_interval(0.04), 0.04), (fixed_interval(0), 0.0)],
    )
    def test_the_first_dial_waits_at_most_a_tenth_of_a_second_or_the_first_interval(
        self, interval: object, most: float, rand: float
    ) -> None:
        world = World(Plan(interval), lambda: rand)  # type: ignore[arg-type]
        world.connect_stable()
        world.lose()
        assert world.delay == pytest.approx(rand * most)

    def test_then_come_intervals_0_1_2(self) -> None:
        world = World()
        world.connect_stable()
        world.lose()
        assert world.elapse() == pytest.approx(0.05)
        waits = []
        for _ in range(3):
            world.fail()
            waits.append(world.elapse())
        assert waits == [10.0, 20.0, 30.0]

    def test_the_first_dial_of_a_connection_that_is_not_stable_waits_interval_0(self) -> None:
        world = World()
        world.connect()
        world.lose()
        assert world.delay == 10.0

    def test_without_quick_first_the_waits_are_intervals_0_1_2_from_the_loss_on(self) -> None:
        world = World(Plan(lin, quick_first=False))
        world.connect_stable()
        world.lose()
        waits = [world.elapse()]
        for _ in range(2):
            world.fail()
            waits.append(world.elapse())
        assert waits == [10.0, 20.0, 30.0]

    @pytest.mark.parametrize(
        ("code", "hint", "wait"),
        [
            (Code.GOING_AWAY, 5.0, 10.0),  # interval 0, which is longer than the hint
            (Code.GOING_AWAY, 40.0, 45.0),  # h + U[0, h/4], in the middle
            (Code.OVERLOADED, 40.0, 45.0),
            (Code.OVERLOADED, None, 10.0),
            (Code.AUTH, None, 1.0),
        ],
    )
    def test_a_hint_an_overload_and_a_refused_login_take_their_own_time(
        self, code: Code, hint: float | None, wait: float
    ) -> None:
        world = World()
        world.connect_stable()
        world.lose(code, hint=hint)
        assert world.delay == pytest.approx(wait)

    @pytest.mark.parametrize("code", [c for c in Code if Cause(c).recovery is Recovery.BACKOFF], ids=str)
    def test_every_cause_that_asks_for_backoff_may_be_quick(self, code: Code) -> None:
        world = World()
        world.connect_stable()
        world.lose(code)
        assert world.delay == pytest.approx(0.05)


class TestHints:
    @pytest.mark.parametrize("code", [c for c in Code if c is not Code.CLOSED], ids=str)
    @pytest.mark.parametrize("rand", [0.0, 0.5, 0.999])
    @pytest.mark.parametrize("after", ["failed attempt", "loss", "stable loss"])
    def test_nothing_is_tried_before_the_time_that_the_peer_named(
        self, code: Code, rand: float, after: str
    ) -> None:
        world = World(Plan(fixed_interval(0), reauth_delay=0.0), lambda: rand)
        world.start()
        if after == "failed attempt":
            world.fail(code, hint=5.0)
        else:
            world.succeed()
            world.lose(code, hint=5.0, after=60.0 if after == "stable loss" else 0.0)
        assert world.delay is not None
        assert 5.0 - 1e-9 <= world.delay <= 6.25
        assert world.delay == pytest.approx(5.0 + rand * 1.25)

    def test_an_overloaded_service_with_a_hint_does_not_let_the_backoff_grow(self) -> None:
        world = World(Plan(lin), lambda: 0.0)
        world.start()
        for _ in range(10):
            world.fail(Code.OVERLOADED, hint=3.0)
            assert world.elapse() == pytest.approx(3.0)
        world.fail(Code.TIMEOUT)
        assert world.delay == 10.0

    def test_an_overloaded_service_without_a_hint_waits_the_configured_intervals(self) -> None:
        world = World()
        world.start()
        waits = []
        for _ in range(3):
            world.fail(Code.OVERLOADED)
            waits.append(world.elapse())
        assert waits == [10.0, 20.0, 30.0]

    def test_other_causes_wait_the_longer_of_hint_and_interval(self) -> None:
        world = World(Plan(lin), lambda: 0.0)
        world.start()
        world.fail(Code.GOING_AWAY, hint=15.0)
        assert world.elapse() == pytest.approx(15.0)
        world.fail(Code.GOING_AWAY, hint=15.0)
        assert world.elapse() == pytest.approx(20.0)

    @pytest.mark.parametrize("hint", [0.0, -30.0], ids=["Retry-After: 0", "a date that is over"])
    def test_an_overloaded_service_whose_hint_is_over_is_not_hammered(self, hint: float) -> None:
        world = World()
        world.start()
        waits = []
        for _ in range(3):
            world.fail(Code.OVERLOADED, hint=hint)
            waits.append(world.elapse())
        assert waits == [10.0, 20.0, 30.0]


class TestTime:
    """Only differences of ``now`` matter: there is no other clock."""

    def test_a_slow_failure_eats_the_wait_of_a_policy_that_counts_from_the_attempts_start(self) -> None:
        world = World(Plan(grpc_backoff(random=Middle())))
        world.start()
        waits = []
        for slowness in (0.0, 0.4, 10.0):
            world.fail(after=slowness)
            waits.append(world.elapse())
        assert waits == pytest.approx([1.0, 1.6 - 0.4, 0.0])

    def test_a_slow_failure_eats_nothing_of_any_other_wait(self) -> None:
        world = World()
        world.start()
        world.fail(after=9.0)
        assert world.delay == 10.0

    def test_a_loss_waits_the_whole_interval_of_either_policy(self) -> None:
        world = World(Plan(grpc_backoff(random=Middle())))
        world.connect()
        world.lose(after=0.9)
        assert world.delay == pytest.approx(1.0)

    @deterministic
    @given(st.floats(-1e6, 1e6))
    def test_when_it_began_makes_no_difference(self, offset: float) -> None:
        def story(began: float) -> list[float]:
            world = World(Plan(DOUBLING))
            world.now = began
            world.start()
            waits = []
            for code in (Code.TIMEOUT, Code.OVERLOADED, Code.REFUSED):
                world.fail(code, hint=5.0, after=0.25)
                waits.append(world.elapse())
            world.succeed()
            world.lose(after=12.0)
            return [*waits, world.elapse()]

        assert story(offset) == pytest.approx(story(0.0), abs=1e-6)

    def test_five_thousand_failures_stay_alive_and_within_the_cap(self) -> None:
        world = World(Plan(exponential_backoff(1, 2, maximum=60, jitter=0.1)))
        world.start()
        for _ in range(5000):
            world.fail()
            assert world.elapse() <= 66.0
        assert world.link.retry_count == 5000
        world.succeed()
        assert world.link.status is Status.CONNECTED
