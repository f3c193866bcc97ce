"""What the state machine does when it is told to: by the network, by the user, by a peer that closes for good."""

from __future__ import annotations

import pytest

from tests.core.world import PLACES, STARTED, World, at, lin, place_id
from tether.backoff import fixed_interval
from tether.core import effects as eff
from tether.core import signals as sig
from tether.core.cause import Cause, Code
from tether.core.events import Kind
from tether.core.lifecycle import Status
from tether.core.link import Activity, Link
from tether.core.schedule import Plan
from tether.errors import IllegalTransition


class TestNewsFromTheNetwork:
    def test_it_cuts_a_sleep_of_five_minutes_short(self) -> None:
        world = World(Plan(fixed_interval(300)))
        world.start()
        world.fail(Code.UNREACHABLE)
        world.now += 20.0
        world.feed(sig.NetworkChanged())
        assert world.last.effects == (eff.Unschedule(), eff.Dial(2))
        assert world.link.retry_count == 1

    @pytest.mark.parametrize(
        ("code", "hint", "dials"),
        [
            (Code.TIMEOUT, None, True),
            (Code.RESET, None, True),
            (Code.REFUSED, None, True),
            (Code.UNREACHABLE, None, True),
            (Code.DNS, None, True),
            (Code.GOING_AWAY, None, True),
            (Code.SERVER_ERROR, None, True),
            (Code.GOING_AWAY, 60.0, False),  # the peer itself set the time
            (Code.TIMEOUT, 60.0, False),
            (Code.GOING_AWAY, 5.0, True),  # that time has passed meanwhile
            (Code.OVERLOADED, 60.0, False),
            (Code.OVERLOADED, None, False),
            (Code.AUTH, None, False),
        ],
    )
    @pytest.mark.parametrize("origin", ["failed attempt", "loss"])
    def test_it_cuts_a_sleep_short_unless_the_peer_asked_for_it(
        self, code: Code, hint: float | None, dials: bool, origin: str
    ) -> None:
        world = World(Plan(fixed_interval(300), reauth_delay=30.0))
        world.start()
        if origin == "loss":
            world.succeed()
            world.lose(code, hint=hint)
        else:
            world.fail(code, hint=hint)
        world.now += 6.0
        before = world.link
        world.feed(sig.NetworkChanged())
        assert (world.dialing is not None) is dials
        if not dials:
            assert world.link == before
            assert world.last.effects == ()

    def test_a_live_connection_is_probed(self) -> None:
        world = World()
        world.connect()
        world.feed(sig.NetworkChanged())
        assert world.last == (world.link, (eff.Probe(),), ())
        assert world.live == 1

    def test_a_dial_under_way_goes_on(self) -> None:
        world = at(Status.RECONNECTING, Activity.DIALING)
        world.feed(sig.NetworkChanged())
        assert world.last.effects == ()

    @pytest.mark.parametrize(("code", "is_revived"), [(Code.TIMEOUT, True), (Code.AUTH, False)])
    def test_what_was_given_up_is_revived_unless_its_login_was_refused(
        self, code: Code, is_revived: bool
    ) -> None:
        world = World(Plan(lin, max_retries=0))
        world.start()
        world.fail(code)
        world.feed(sig.NetworkChanged())
        assert (world.dialing is not None) is is_revived

    def test_to_what_is_not_started_it_means_nothing(self) -> None:
        world = World()
        world.feed(sig.NetworkChanged())
        assert world.last == (Link(), (), ())


class TestForce:
    def test_ten_of_them_during_a_sleep_of_thirty_seconds_are_one_dial(self) -> None:
        world = World(Plan(fixed_interval(30)))
        world.connect()
        world.lose()
        world.elapse()
        world.fail()
        assert world.delay == 30.0
        dials = len(world.dials)
        for _ in range(10):
            world.feed(sig.Force())
        assert len(world.dials) == dials + 1
        assert world.dialing == dials + 1
        assert world.link.retry_count == 1
        world.fail()
        assert world.link.retry_count == 2

    def test_it_does_not_reset_the_backoff(self) -> None:
        world = World()
        world.start()
        world.fail()
        world.feed(sig.Force())
        world.fail()
        assert world.delay == 20.0

    def test_it_counts_against_the_limit(self) -> None:
        world = World(Plan(lin, max_retries=3))
        world.connect()
        world.lose()
        for _ in range(3):
            assert world.link.status is Status.RECONNECTING
            world.feed(sig.Force())
            world.fail()
        assert world.link.status is Status.FAILED

    def test_it_cuts_even_a_sleep_that_the_peer_asked_for(self) -> None:
        world = World()
        world.start()
        world.fail(Code.OVERLOADED, hint=60.0)
        world.feed(sig.Force())
        assert world.dialing == 2

    def test_a_live_connection_is_replaced_at_once(self) -> None:
        world = World()
        world.connect()
        world.feed(sig.Force())
        assert world.last.effects == (eff.Abandon(1), eff.Dial(2))
        assert world.kinds == [Kind.LOST, Kind.ATTEMPT_STARTED]
        assert world.told(Kind.LOST)[0].cause == Cause(Code.CLOSED, detail="forced")
        assert world.link.status is Status.RECONNECTING

    def test_that_failing_it_heals_like_any_loss(self) -> None:
        world = World(Plan(lin, max_retries=2))
        world.connect_stable()
        world.feed(sig.Force())
        world.fail()
        assert world.delay == 10.0
        world.elapse()
        world.fail()
        assert world.link.status is Status.FAILED

    @pytest.mark.parametrize("status", [Status.CONNECTING, Status.RECONNECTING], ids=str)
    def test_it_joins_a_dial_that_is_under_way(self, status: Status) -> None:
        world = at(status, Activity.DIALING)
        before = world.link
        world.feed(sig.Force())
        assert world.last == (before, (), ())

    def test_what_was_given_up_is_revived(self) -> None:
        world = at(Status.FAILED, Activity.IDLE)
        world.feed(sig.Force())
        assert world.kinds == [Kind.REVIVED, Kind.ATTEMPT_STARTED]
        assert world.link.status is Status.CONNECTING
        assert world.link.retry_count == 1

    @pytest.mark.parametrize(("status", "activity"), STARTED, ids=place_id)
    def test_what_is_paused_refuses_it(self, status: Status, activity: Activity) -> None:
        world = at(status, activity, paused=True)
        with pytest.raises(IllegalTransition, match="resume"):
            world.feed(sig.Force())

    def test_what_is_not_started_refuses_it(self) -> None:
        with pytest.raises(IllegalTransition, match="start"):
            World().feed(sig.Force())


class TestRevival:
    def given_up(self, *, connected_before: bool = True) -> World:
        world = World(Plan(lin, max_retries=1))
        world.start()
        if connected_before:
            world.succeed()
            world.lose()
        world.fail_until_given_up()
        return world

    @pytest.mark.parametrize("signal", [sig.Force(), sig.NetworkChanged(), sig.CallSucceeded()], ids=repr)
    def test_it_connects_as_if_nothing_had_been(self, signal: sig.Signal) -> None:
        world = self.given_up()
        world.feed(signal)
        assert world.last.effects == (eff.Dial(3),)
        assert world.kinds == [Kind.REVIVED, Kind.ATTEMPT_STARTED]
        world.succeed()
        assert world.link.status is Status.CONNECTED

    def test_the_old_loss_goes_on(self) -> None:
        world = self.given_up()
        world.feed(sig.Force())
        world.fail()
        assert [str(fact.status) for fact in world.facts[-4:]] == [
            "connecting",  # revived
            "connecting",  # attempt started
            "connecting",  # attempt failed
            "reconnecting",  # retry scheduled
        ]
        world.elapse()
        world.succeed()
        assert world.kinds == [Kind.RECONNECTED]

    def test_one_that_was_never_connected_goes_on_connecting(self) -> None:
        world = self.given_up(connected_before=False)
        world.feed(sig.Force())
        world.fail()
        assert world.link.status is Status.CONNECTING
        world.elapse()
        world.succeed()
        assert world.kinds == [Kind.CONNECTED]

    def test_the_count_goes_on_and_the_backoff_too(self) -> None:
        world = self.given_up(connected_before=False)
        assert world.link.retry_count == 2
        world.feed(sig.Force())
        world.fail()
        assert world.link.retry_count == 3
        assert world.delay == 20.0

    def test_a_call_that_succeeds_says_nothing_to_one_that_was_not_given_up(self) -> None:
        for place in PLACES[:-1]:
            world = at(*place)
            before = world.link
            world.feed(sig.CallSucceeded())
            assert world.last == (before, (), ())

    @pytest.mark.parametrize(
        "signal", [sig.NetworkChanged(), sig.CallSucceeded(), sig.CredentialChanged()], ids=repr
    )
    def test_one_that_is_paused_stays_given_up(self, signal: sig.Signal) -> None:
        world = self.given_up()
        world.feed(sig.Pause())
        world.feed(signal)
        assert world.link.status is Status.FAILED
        assert world.last.effects == ()

    def test_a_changed_credential_revives_whatever_was_given_up(self) -> None:
        world = self.given_up()
        world.feed(sig.CredentialChanged())
        assert world.kinds == [Kind.REVIVED, Kind.ATTEMPT_STARTED]


class TestAClosedConnection:
    """``closed`` asks for no recovery."""

    def test_a_peer_that_closed_for_good_is_not_called_again(self) -> None:
        world = World()
        world.connect()
        world.lose(Code.CLOSED, after=3.0)
        assert world.last.effects == (eff.Abandon(1),)
        assert world.kinds == [Kind.LOST, Kind.STOPPED]
        assert [fact.elapsed for fact in world.last.facts] == [3.0, None]
        assert [str(fact.cause) for fact in world.last.facts] == ["closed", "closed"]
        assert world.link.status is Status.DISCONNECTED

    def test_it_can_be_started_again(self) -> None:
        world = World()
        world.connect()
        world.lose(Code.CLOSED)
        world.start()
        world.succeed()
        assert world.kinds == [Kind.CONNECTED]

    def test_an_attempt_that_is_turned_away_for_good_is_given_up_at_once(self) -> None:
        world = World()
        world.start()
        world.fail(Code.CLOSED)
        assert world.kinds == [Kind.ATTEMPT_FAILED, Kind.GAVE_UP]
        assert world.link.status is Status.FAILED

    def test_it_is_no_longer_paused(self) -> None:
        world = World()
        world.connect()
        world.feed(sig.Pause())
        world.lose(Code.CLOSED)
        assert not world.link.paused


class TestPause:
    @pytest.mark.parametrize(
        ("status", "activity", "effects"),
        [
            (Status.CONNECTING, Activity.DIALING, (eff.CancelDial(1),)),
            (Status.CONNECTING, Activity.WAITING, (eff.Unschedule(),)),
            (Status.CONNECTED, Activity.LIVE, (eff.StopProbing(),)),
            (Status.RECONNECTING, Activity.DIALING, (eff.CancelDial(2),)),
            (Status.RECONNECTING, Activity.WAITING, (eff.Unschedule(),)),
            (Status.FAILED, Activity.IDLE, ()),
        ],
        ids=place_id,
    )
    def test_it_ends_what_is_going_on_and_keeps_what_is_there(
        self, status: Status, activity: Activity, effects: tuple[eff.Effect, ...]
    ) -> None:
        world = at(status, activity)
        live = world.live
        world.feed(sig.Pause())
        assert world.last.effects == effects
        assert world.kinds == [Kind.PAUSED]
        assert (world.link.status, world.live) == (status, live)
        assert (world.dialing, world.timer, world.link.due_at) == (None, None, None)

    @pytest.mark.parametrize(
        ("status", "activity", "effects"),
        [
            (Status.CONNECTING, Activity.DIALING, (eff.Dial(2),)),
            (Status.CONNECTING, Activity.WAITING, (eff.Dial(2),)),
            (Status.CONNECTED, Activity.LIVE, (eff.Probe(),)),
            (Status.RECONNECTING, Activity.DIALING, (eff.Dial(3),)),
            (Status.RECONNECTING, Activity.WAITING, (eff.Dial(2),)),
            (Status.FAILED, Activity.IDLE, ()),
        ],
        ids=place_id,
    )
    def test_resume_looks_after_it_at_once(
        self, status: Status, activity: Activity, effects: tuple[eff.Effect, ...]
    ) -> None:
        world = at(status, activity, paused=True)
        world.feed(sig.Resume())
        assert world.last.effects == effects
        assert world.kinds[0] is Kind.RESUMED
        assert not world.link.paused

    @pytest.mark.parametrize(("status", "activity"), STARTED, ids=place_id)
    def test_pausing_twice_and_resuming_twice_is_as_once(self, status: Status, activity: Activity) -> None:
        world = at(status, activity, paused=True)
        before = world.link
        world.feed(sig.Pause())
        assert world.last == (before, (), ())
        world.feed(sig.Resume())
        before = world.link
        world.feed(sig.Resume())
        assert world.last == (before, (), ())

    def test_what_is_not_started_cannot_be_paused(self) -> None:
        with pytest.raises(IllegalTransition, match="start"):
            World().feed(sig.Pause())

    def test_a_dial_that_was_cancelled_counts_as_nothing(self) -> None:
        world = at(Status.CONNECTING, Activity.DIALING, paused=True)
        assert world.link.retry_count == 0
        assert not world.told(Kind.ATTEMPT_FAILED)

    def test_nothing_happens_by_itself(self) -> None:
        for signal in (sig.NetworkChanged(), sig.CallSucceeded(), sig.CredentialChanged(), sig.Elapsed(1)):
            for place in STARTED:
                world = at(*place, paused=True)
                world.feed(signal)
                assert (world.last.effects, world.last.facts) == ((), ()), (place, signal)

    def test_a_connection_lost_meanwhile_is_told_and_waits_for_resume(self) -> None:
        world = World()
        world.connect_stable()
        world.feed(sig.Pause())
        world.lose()
        assert list(world.last.effects) == [eff.Abandon(1)]
        assert world.kinds[0] is Kind.LOST
        assert world.link.status is Status.RECONNECTING
        world.feed(sig.Resume())
        assert list(world.last.effects) == [eff.Dial(2)]

    def test_a_connection_lost_meanwhile_does_not_promise_an_attempt(self) -> None:
        world = World()
        world.connect()
        world.feed(sig.Pause())
        world.lose()
        assert Kind.RETRY_SCHEDULED not in world.kinds

    @pytest.mark.parametrize("code", [Code.OVERLOADED, Code.GOING_AWAY], ids=str)
    def test_resume_is_no_reason_to_come_earlier_than_the_peer_asked(self, code: Code) -> None:
        world = World(Plan(lin), lambda: 0.0)
        world.start()
        world.fail(code, hint=60.0)
        world.feed(sig.Pause())
        world.now += 5.0
        world.feed(sig.Resume())
        assert world.delay == pytest.approx(55.0)


class TestStop:
    @pytest.mark.parametrize(
        ("status", "activity", "effects"),
        [
            (Status.DISCONNECTED, Activity.IDLE, ()),
            (Status.CONNECTING, Activity.DIALING, (eff.CancelDial(1),)),
            (Status.CONNECTING, Activity.WAITING, (eff.Unschedule(),)),
            (Status.CONNECTED, Activity.LIVE, (eff.Release(1),)),
            (Status.RECONNECTING, Activity.DIALING, (eff.CancelDial(2),)),
            (Status.RECONNECTING, Activity.WAITING, (eff.Unschedule(),)),
            (Status.FAILED, Activity.IDLE, ()),
        ],
        ids=place_id,
    )
    def test_it_ends_everything(
        self, status: Status, activity: Activity, effects: tuple[eff.Effect, ...]
    ) -> None:
        world = at(status, activity)
        world.stop()
        assert world.link.status is Status.DISCONNECTED
        assert (world.timer, world.dialing, world.live) == (None, None, None)
        assert world.last.effects == effects
        assert world.kinds == ([] if status is Status.DISCONNECTED else [Kind.STOPPED])

    @pytest.mark.parametrize(("status", "activity"), STARTED, ids=place_id)
    def test_it_ends_what_is_paused_and_the_pause(self, status: Status, activity: Activity) -> None:
        world = at(status, activity, paused=True)
        world.stop()
        assert world.link.status is Status.DISCONNECTED
        assert (world.timer, world.dialing, world.live) == (None, None, None)
        assert not world.link.paused
        assert world.kinds == [Kind.STOPPED]

    @pytest.mark.parametrize(("status", "activity"), PLACES, ids=place_id)
    def test_it_is_idempotent(self, status: Status, activity: Activity) -> None:
        world = at(status, activity)
        world.stop()
        stopped = world.link
        world.stop()
        assert world.last == (stopped, (), ())

    @pytest.mark.parametrize(("status", "activity"), STARTED, ids=place_id)
    def test_nothing_dials_after_it(self, status: Status, activity: Activity) -> None:
        world = at(status, activity)
        world.stop()
        stopped, generation = world.link, world.link.generation
        for signal in (
            sig.Elapsed(generation),
            sig.Succeeded(generation),
            sig.Failed(generation, Cause(Code.TIMEOUT)),
            sig.Lost(generation, Cause(Code.TIMEOUT)),
            sig.NetworkChanged(),
            sig.CallSucceeded(),
            sig.Resume(),
        ):
            world.feed(signal)
            assert world.link == stopped
            assert not set(map(type, world.last.effects)) & {eff.Dial, eff.Schedule, eff.Adopt, eff.Probe}

    def test_a_dial_that_gets_through_too_late_is_dropped(self) -> None:
        world = World()
        world.start()
        world.stop()
        world.feed(sig.Succeeded(1))
        assert world.last.effects == (eff.Abandon(1),)
        assert world.link.status is Status.DISCONNECTED
