"""The state machine, story by story: the first start, a loss, counting, old news. No event loop, no waiting."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from tests.core.world import FOR_EVER, PLACES, STARTED, World, at, half, lin, place_id
from tether.backoff import fixed_interval
from tether.core import effects as eff
from tether.core import signals as sig
from tether.core.cause import Cause, Code, Phase
from tether.core.events import Kind
from tether.core.lifecycle import Status
from tether.core.link import Activity, Link
from tether.core.machine import step
from tether.core.schedule import Plan
from tether.errors import IllegalTransition


class TestFirstStart:
    def test_it_dials_at_once(self) -> None:
        world = World()
        world.start()
        assert world.last.effects == (eff.Dial(1),)
        assert world.kinds == [Kind.STARTED, Kind.ATTEMPT_STARTED]
        assert world.link.status is Status.CONNECTING

    def test_success_makes_it_connected_and_tells_how_long_that_took(self) -> None:
        world = World()
        world.start()
        world.now += 0.25
        world.succeed()
        assert world.last.effects == (eff.Adopt(1),)
        assert world.kinds == [Kind.CONNECTED]
        assert world.told(Kind.CONNECTED)[0].elapsed == 0.25

    def test_what_an_attempts_end_has_to_tell_is_handed_on_with_its_outcome_and_with_nothing_else(
        self,
    ) -> None:
        for signal, kind in (
            (sig.Succeeded(1, {"duration": 0.5}), Kind.CONNECTED),
            (sig.Failed(1, Cause(Code.REFUSED), {"duration": 0.5}), Kind.ATTEMPT_FAILED),
        ):
            world = World()
            world.start()
            world.feed(signal)
            assert [fact.kind for fact in world.facts if fact.detail == {"duration": 0.5}] == [kind]

    def test_failure_leaves_it_connecting_and_is_counted_from_one(self) -> None:
        world = World()
        world.start()
        for count in (1, 2, 3):
            world.fail(Code.REFUSED)
            assert world.kinds == [Kind.ATTEMPT_FAILED, Kind.RETRY_SCHEDULED]
            assert [fact.retry_count for fact in world.last.facts] == [count, count]
            assert world.link.status is Status.CONNECTING
            assert world.told(Kind.ATTEMPT_FAILED)[-1].cause == Cause(Code.REFUSED, Phase.TCP)
            world.elapse()

    def test_the_waits_are_intervals_0_1_2(self) -> None:
        world = World()
        world.start()
        world.fail()
        assert world.elapse() == 10.0
        world.fail()
        assert world.elapse() == 20.0
        world.fail()
        assert world.elapse() == 30.0

    def test_what_is_told_about_a_wait_is_what_is_waited(self) -> None:
        world = World()
        world.start()
        world.fail()
        assert world.told(Kind.RETRY_SCHEDULED)[-1].delay == 10.0
        assert world.link.due_at == world.now + 10.0
        assert eff.Schedule(10.0, 1) in world.last.effects

    def test_every_wait_tells_how_long_it_has_been_down_already(self) -> None:
        world = World()
        world.start()
        for _ in range(3):
            world.fail(after=1.0)
            world.elapse()
        assert [fact.elapsed for fact in world.told(Kind.RETRY_SCHEDULED)] == [1.0, 12.0, 33.0]

    @pytest.mark.parametrize(("status", "activity"), STARTED, ids=place_id)
    def test_a_second_start_is_refused(self, status: Status, activity: Activity) -> None:
        world = at(status, activity)
        with pytest.raises(IllegalTransition, match=f"{status.value} cannot start"):
            world.start()

    def test_a_new_start_has_forgotten_the_last_run_but_not_its_numbers(self) -> None:
        world = World()
        world.connect()
        world.lose()
        world.elapse()
        world.fail()
        world.stop()
        world.start()
        assert world.link == Link(
            status=Status.CONNECTING,
            activity=Activity.DIALING,
            generation=3,
            credential_worked=True,
            since=world.now,
            down_since=world.now,
        )
        world.succeed()
        assert world.kinds == [Kind.CONNECTED]


class TestLoss:
    def test_the_dead_connection_is_dropped_and_told_once_with_its_age(self) -> None:
        world = World()
        world.connect()
        world.lose(Code.TIMEOUT, after=3.0)
        assert world.last.effects[0] == eff.Abandon(1)
        assert world.kinds == [Kind.LOST, Kind.RETRY_SCHEDULED]
        lost = world.told(Kind.LOST)[0]
        assert (lost.status, lost.elapsed, lost.cause) == (Status.RECONNECTING, 3.0, Cause(Code.TIMEOUT))

    def test_it_is_reconnecting_through_sleeps_and_dials(self) -> None:
        world = World()
        world.connect()
        world.lose()
        for _ in range(3):
            assert world.link.status is Status.RECONNECTING
            world.elapse()
            assert world.link.status is Status.RECONNECTING
            world.fail()
        assert len(world.told(Kind.LOST)) == 1

    def test_a_reconnect_tells_how_long_it_was_down_and_clears_the_count(self) -> None:
        world = World()
        world.connect()
        world.lose()
        lost_at = world.now
        assert world.told(Kind.RETRY_SCHEDULED)[-1].elapsed == 0.0
        world.elapse()
        world.fail(after=0.5)
        assert world.told(Kind.RETRY_SCHEDULED)[-1].elapsed == 10.5
        assert world.link.retry_count == 1
        world.elapse()
        world.now += 0.25
        world.succeed()
        reconnected = world.told(Kind.RECONNECTED)[0]
        assert reconnected.elapsed == world.now - lost_at == 30.75
        assert (reconnected.retry_count, world.link.retry_count) == (0, 0)
        assert world.link.cause is None

    def test_the_time_up_counts_from_the_latest_connection_without_its_dial(self) -> None:
        world = World()
        world.connect()
        world.lose(after=100.0)
        world.elapse()
        world.now += 2.0
        world.succeed()
        world.lose(after=7.0)
        assert world.told(Kind.LOST)[-1].elapsed == 7.0

    def test_a_second_detector_is_evidence_and_nothing_more(self) -> None:
        world = World()
        world.connect()
        world.lose(Code.RESET)
        link = world.link
        world.feed(sig.Lost(1, Cause(Code.TIMEOUT)))
        assert world.link == link
        assert world.last.effects == ()
        assert world.kinds == [Kind.EVIDENCE]
        assert world.last.facts[0].cause == Cause(Code.TIMEOUT)

    def test_a_first_start_that_heals_is_connected_not_reconnected(self) -> None:
        world = World()
        world.start()
        world.fail()
        world.elapse()
        world.succeed()
        assert world.kinds == [Kind.CONNECTED]


class TestCounting:
    """``max_retries=N``: N attempts after a loss; one more for a first start, or for one that was revived."""

    @pytest.mark.parametrize("most", [0, 1, 3, 10])
    def test_a_first_start_has_one_and_n_attempts(self, most: int) -> None:
        world = World(Plan(lin, max_retries=most))
        world.start()
        assert world.fail_until_given_up() == 1 + most
        assert len(world.dials) == 1 + most

    @pytest.mark.parametrize("most", [0, 1, 3, 10])
    def test_a_loss_has_n_attempts(self, most: int) -> None:
        world = World(Plan(lin, max_retries=most))
        world.connect()
        world.lose()
        assert world.fail_until_given_up() == most
        assert len(world.dials) == 1 + most

    @pytest.mark.parametrize("most", [0, 1, 3, 10])
    @pytest.mark.parametrize("revival", [sig.Force(), sig.NetworkChanged(), sig.CallSucceeded()], ids=repr)
    def test_a_revival_has_one_and_n_attempts(self, most: int, revival: sig.Signal) -> None:
        world = World(Plan(lin, max_retries=most))
        world.connect()
        world.lose()
        world.fail_until_given_up()
        dials = len(world.dials)
        world.feed(revival)
        assert world.fail_until_given_up() == 1 + most
        assert len(world.dials) - dials == 1 + most

    def test_every_loss_has_n_attempts_anew(self) -> None:
        world = World(Plan(lin, max_retries=2))
        world.connect()
        for _ in range(5):
            world.lose()
            world.elapse()
            world.fail()
            world.elapse()
            world.succeed()
        assert world.link.status is Status.CONNECTED

    def test_without_a_limit_it_goes_on(self) -> None:
        world = World(Plan(lambda _: 1.0, max_retries=None))
        world.start()
        with pytest.raises(AssertionError, match="still not given up after 2000 attempts"):
            world.fail_until_given_up(limit=2000)
        assert world.link.retry_count == 2000

    def test_giving_up_is_told_once_with_the_last_cause_and_the_count(self) -> None:
        world = World(Plan(lin, max_retries=2))
        world.start()
        world.fail_until_given_up(Code.REFUSED)
        assert world.kinds == [Kind.ATTEMPT_FAILED, Kind.GAVE_UP]
        assert world.last.effects == ()
        gave_up = world.told(Kind.GAVE_UP)
        assert [(fact.status, fact.retry_count, str(fact.cause)) for fact in gave_up] == [
            (Status.FAILED, 3, "refused")
        ]

    def test_no_retry_at_all_gives_up_with_the_loss(self) -> None:
        world = World(Plan(lin, max_retries=0))
        world.connect()
        world.lose()
        assert world.kinds == [Kind.LOST, Kind.GAVE_UP]
        assert world.link.status is Status.FAILED

    @pytest.mark.parametrize("origin", ["first start", "loss"])
    def test_an_overloaded_service_is_not_counted(self, origin: str) -> None:
        world = World(Plan(lin, max_retries=2))
        world.connect()
        if origin == "loss":
            world.lose()
            world.elapse()
        else:
            world.stop()
            world.start()
        for _ in range(50):
            world.fail(Code.OVERLOADED)
            world.elapse()
        assert world.link.retry_count == 50
        assert world.fail_until_given_up() == (2 if origin == "loss" else 3)

    def test_the_limit_may_change_while_running(self) -> None:
        world = World(Plan(lin, max_retries=10))
        world.connect()
        world.lose()
        world.elapse()
        world.fail()
        world.elapse()
        world.plan = replace(world.plan, max_retries=2)
        world.fail()
        assert world.link.status is Status.FAILED

    def test_the_backoff_may_change_while_running(self) -> None:
        world = World()
        world.start()
        world.fail()
        world.elapse()
        world.plan = replace(world.plan, interval=fixed_interval(0.5))
        world.fail()
        assert world.delay == 0.5


class TestOldNews:
    """A signal of another generation never tears anything down."""

    def third(self) -> World:
        """Connected for the third time."""
        world = World()
        world.connect()
        for _ in range(2):
            world.lose()
            world.elapse()
            world.succeed()
        assert world.live == 3
        return world

    @pytest.mark.parametrize("generation", [0, 1, 2, 4, 99])
    @pytest.mark.parametrize("code", [Code.RESET, Code.AUTH, Code.CLOSED], ids=str)
    def test_a_late_error_of_another_socket_leaves_the_connection_alone(
        self, generation: int, code: Code
    ) -> None:
        world = self.third()
        before = world.link
        world.feed(sig.Lost(generation, Cause(code)))
        assert (world.link, world.last.effects, world.kinds) == (before, (), [Kind.EVIDENCE])
        world.feed(sig.Failed(generation, Cause(code)))
        assert (world.link, world.last.effects, world.kinds) == (before, (), [Kind.EVIDENCE])

    @pytest.mark.parametrize("generation", [0, 1, 2, 4, 99])
    def test_a_late_success_is_dropped(self, generation: int) -> None:
        world = self.third()
        before = world.link
        world.feed(sig.Succeeded(generation))
        assert world.last == (before, (eff.Abandon(generation),), ())
        assert world.live == 3

    @pytest.mark.parametrize("off", [-2, -1, 1, 2, 99])
    @pytest.mark.parametrize(("status", "activity"), PLACES, ids=place_id)
    def test_the_timer_of_another_dial_dials_nothing(
        self, off: int, status: Status, activity: Activity
    ) -> None:
        world = at(status, activity)
        before = world.link
        world.feed(sig.Elapsed(before.generation + off))
        assert world.last == (before, (), ())

    @pytest.mark.parametrize(
        ("status", "activity"), [place for place in PLACES if place[1] is not Activity.WAITING], ids=place_id
    )
    def test_a_timer_that_nobody_set_dials_nothing(self, status: Status, activity: Activity) -> None:
        world = at(status, activity)
        before = world.link
        world.feed(sig.Elapsed(before.generation))
        assert world.last == (before, (), ())

    @pytest.mark.parametrize("generation", [0, 1, 2, 4, 99])
    def test_a_late_restore_degrades_nothing(self, generation: int) -> None:
        world = self.third()
        before = world.link
        world.feed(sig.Restored(generation, 5))
        assert world.last == (before, (), ())

    def test_a_timer_that_was_cancelled_by_pause_dials_nothing(self) -> None:
        world = at(Status.RECONNECTING, Activity.WAITING, paused=True)
        world.feed(sig.Elapsed(world.link.generation))
        assert world.last.effects == ()

    def test_the_outcome_of_a_dial_that_was_cancelled_is_nobodys(self) -> None:
        world = at(Status.CONNECTING, Activity.DIALING, paused=True)
        before = world.link
        world.feed(sig.Failed(1, Cause(Code.TIMEOUT)))
        assert (world.link, world.kinds) == (before, [Kind.EVIDENCE])
        world.feed(sig.Succeeded(1))
        assert (world.link, world.last.effects) == (before, (eff.Abandon(1),))

    def test_generations_only_grow(self) -> None:
        world = World()
        seen = []
        for _ in range(3):
            world.connect()
            seen.append(world.live)
            world.lose()
            world.elapse()
            world.fail()
            seen.append(world.link.generation)
            world.stop()
        assert seen == [1, 2, 3, 4, 5, 6]

    def test_a_success_that_is_told_twice_leaves_the_connection_alone(self) -> None:
        world = World()
        world.connect()
        before = world.link
        world.feed(sig.Succeeded(1))
        assert world.last == (before, (), ())


class TestDegraded:
    def test_it_is_told_when_it_begins_and_when_it_ends(self) -> None:
        world = World()
        world.connect()
        told = []
        for missing in (0, 2, 1, 0, 0):
            world.feed(sig.Restored(1, missing))
            told.append(world.kinds)
            assert world.last.effects == ()
            assert world.link.degraded is (missing > 0)
        assert told == [[], [Kind.DEGRADED], [], [Kind.RECOVERED], []]

    @pytest.mark.parametrize("how", ["loss", "closed", "stop", "force"])
    def test_it_ends_with_the_connection(self, how: str) -> None:
        world = World()
        world.connect()
        world.feed(sig.Restored(1, 1))
        match how:
            case "loss":
                world.lose()
            case "closed":
                world.lose(Code.CLOSED)
            case "stop":
                world.stop()
            case _:
                world.feed(sig.Force())
        assert not world.link.degraded


class TestPurity:
    @pytest.mark.parametrize(("status", "activity"), PLACES, ids=place_id)
    def test_the_same_signal_twice_gives_the_same_answer_and_leaves_the_link_as_it_was(
        self, status: Status, activity: Activity
    ) -> None:
        world = at(status, activity)
        link, copy = world.link, replace(world.link)
        for signal in (sig.Stop(), sig.NetworkChanged(), sig.Failed(link.generation, Cause(Code.AUTH))):
            first = step(link, signal, world.now, FOR_EVER, half)
            assert step(link, signal, world.now, FOR_EVER, half) == first
            assert link == copy

    def test_facts_carry_the_figures_of_their_own_moment(self) -> None:
        world = World(Plan(lin, max_retries=0))
        world.connect()
        world.lose()
        assert [(fact.kind, fact.status) for fact in world.last.facts] == [
            (Kind.LOST, Status.RECONNECTING),
            (Kind.GAVE_UP, Status.FAILED),
        ]
        world.feed(sig.Force())
        assert [(fact.kind, fact.generation) for fact in world.last.facts] == [
            (Kind.REVIVED, 1),
            (Kind.ATTEMPT_STARTED, 2),
        ]

    def test_the_statuses_that_are_told_follow_one_another_by_the_table(self) -> None:
        world = World(Plan(lin, max_retries=1))
        world.connect()
        world.lose()
        world.fail_until_given_up()
        world.feed(sig.Force())
        world.fail()
        world.elapse()
        world.succeed()
        world.stop()
        told = [fact.status for fact in world.facts]
        changes = [new for old, new in pairwise([Status.DISCONNECTED, *told]) if old is not new]
        assert " ".join(changes) == (
            "connecting connected reconnecting failed connecting reconnecting connected disconnected"
        )
