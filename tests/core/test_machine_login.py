"""What the state machine does about a login that is refused."""

from __future__ import annotations

import pytest

from tests.core.world import World, at, lin
from tether.backoff import fixed_interval
from tether.core import effects as eff
from tether.core import signals as sig
from tether.core.cause import Code
from tether.core.events import Kind
from tether.core.lifecycle import Status
from tether.core.link import Activity
from tether.core.schedule import Plan


class TestRefusedLogin:
    def parked(self) -> World:
        world = World()
        world.start()
        world.fail(Code.AUTH)
        world.elapse()
        world.fail(Code.AUTH)
        return world

    def test_a_credential_that_never_worked_is_parked_after_two_refusals(self) -> None:
        world = self.parked()
        assert len(world.dials) == 2
        assert world.link.status is Status.FAILED
        assert world.kinds == [Kind.ATTEMPT_FAILED, Kind.GAVE_UP]
        assert world.last.effects == ()

    def test_the_provider_is_asked_before_the_second_attempt_only(self) -> None:
        assert self.parked().dials == [eff.Dial(1, ask_credential=False), eff.Dial(2, ask_credential=True)]

    @pytest.mark.parametrize("delay", [0.0, 1.0, 7.5])
    def test_the_second_attempt_comes_after_reauth_delay(self, delay: float) -> None:
        world = World(Plan(lin, reauth_delay=delay))
        world.start()
        world.fail(Code.AUTH)
        assert world.delay == delay

    def test_other_failures_in_between_do_not_give_it_another_chance(self) -> None:
        world = World()
        world.start()
        for code in (Code.AUTH, Code.TIMEOUT, Code.OVERLOADED):
            world.fail(code)
            world.elapse()
        world.fail(Code.AUTH)
        assert world.link.status is Status.FAILED

    def test_a_new_credential_that_is_taken_connects(self) -> None:
        world = World()
        world.start()
        world.fail(Code.AUTH)
        world.elapse()
        world.feed(sig.CredentialChanged())
        world.succeed()
        world.lose()
        world.elapse()
        assert world.dials[-1] == eff.Dial(3, ask_credential=False)

    @pytest.mark.parametrize(("rand", "factor"), [(0.0, 0.9), (0.5, 1.0), (0.999999, 1.1)])
    def test_one_that_did_work_is_tried_ever_more_slowly(self, rand: float, factor: float) -> None:
        world = World(Plan(fixed_interval(0)), lambda: rand)
        world.connect()
        world.lose(Code.AUTH)
        waits = [world.elapse()]
        for _ in range(7):
            world.fail(Code.AUTH)
            waits.append(world.elapse())
        slow = [60, 120, 240, 480, 900, 900, 900]
        assert waits == pytest.approx([1.0, *(factor * wait for wait in slow)], rel=1e-5)
        assert all(dial.ask_credential for dial in world.dials[1:])

    def test_one_that_did_work_and_is_refused_after_an_outage_is_tried_slowly_too(self) -> None:
        world = World()
        world.connect()
        world.lose(Code.RESET)
        world.elapse()
        waits = []
        for _ in range(3):
            world.fail(Code.AUTH)
            waits.append(world.elapse())
        assert waits == pytest.approx([1.0, 60.0, 120.0])
        assert [dial.ask_credential for dial in world.dials] == [False, False, True, True, True]

    def test_slow_tries_go_on_for_ever(self) -> None:
        world = World()
        world.connect()
        world.lose(Code.AUTH)
        for _ in range(2000):
            assert world.elapse() <= 990.0
            world.fail(Code.AUTH)
        assert world.link.status is Status.RECONNECTING

    def test_it_still_counts_against_the_limit(self) -> None:
        world = World(Plan(lin, max_retries=3))
        world.connect()
        world.lose(Code.AUTH)
        assert world.fail_until_given_up(Code.AUTH) == 3

    def test_that_it_worked_is_known_beyond_a_stop(self) -> None:
        world = World()
        world.connect()
        world.stop()
        world.start()
        for _ in range(3):
            world.fail(Code.AUTH)
            world.elapse()
        assert world.link.status is Status.CONNECTING

    def test_a_success_forgets_the_refusals(self) -> None:
        world = World()
        world.start()
        world.fail(Code.AUTH)
        world.elapse()
        world.succeed()
        world.lose(Code.RESET)
        world.elapse()
        world.fail(Code.AUTH)
        assert world.delay == pytest.approx(1.0)

    def test_the_provider_is_asked_again_when_the_dial_that_asked_was_cancelled(self) -> None:
        world = World()
        world.start()
        world.fail(Code.AUTH)
        world.elapse()
        world.feed(sig.Pause())
        world.feed(sig.Resume())
        assert world.dials[-1] == eff.Dial(3, ask_credential=True)

    def refuse_fresh_ones(self, world: World, times: int) -> list[float]:
        """Refuse what the provider answers, time and again, and each time something new; return the waits."""
        waits = []
        for _ in range(times):
            waits.append(world.elapse())
            world.feed(sig.CredentialChanged())  # the provider's answer to the question that the dial asks
            world.fail(Code.AUTH)
        return waits

    def test_a_provider_of_ever_new_credentials_that_are_all_refused_does_not_hammer_the_server(self) -> None:
        world = World()
        world.start()
        world.fail(Code.AUTH)
        slow = [60.0, 120.0, 240.0, 480.0, 900.0, 900.0]
        assert self.refuse_fresh_ones(world, 9) == pytest.approx([1.0, 1.0, 1.0, *slow])
        assert world.link.status is Status.CONNECTING

    def test_a_fresh_one_that_is_taken_forgets_all_that_were_refused_once_it_is_stable(self) -> None:
        world = World()
        world.start()
        world.fail(Code.AUTH)
        self.refuse_fresh_ones(world, 5)
        world.elapse()
        world.succeed()
        world.lose(Code.AUTH, after=10.0)
        assert world.delay == 1.0

    @pytest.mark.parametrize("news", ["a credential from outside", "a new start"])
    def test_a_credential_that_someone_brings_and_a_new_start_are_not_made_to_wait_for_the_old_ones(
        self, news: str
    ) -> None:
        world = World()
        world.start()
        world.fail(Code.AUTH)
        self.refuse_fresh_ones(world, 5)
        if news == "a new start":
            world.stop()
            world.start()
        else:
            world.feed(sig.CredentialChanged())
        world.fail(Code.AUTH)
        assert world.delay == 1.0

    def test_fresh_ones_that_are_taken_and_soon_revoked_do_not_hammer_the_server_either(self) -> None:
        world = World()
        world.connect()
        waits = []
        for _ in range(6):
            world.lose(Code.AUTH, after=0.05)
            waits.append(world.elapse())
            world.feed(sig.CredentialChanged())
            world.succeed()
        assert waits == pytest.approx([1.0, 1.0, 1.0, 60.0, 120.0, 240.0])

    def test_a_stable_connection_forgets_the_refusals_before_it(self) -> None:
        world = World()
        world.start()
        world.fail(Code.AUTH)
        world.elapse()
        world.succeed()
        world.lose(Code.AUTH, after=10.0)
        assert world.delay == 1.0

    def test_the_provider_is_asked_once_for_a_refusal_however_often_the_network_fails_after_it(self) -> None:
        world = World()
        world.start()
        world.fail(Code.AUTH)
        world.elapse()
        for code in (Code.TIMEOUT, Code.REFUSED, Code.OVERLOADED):
            world.fail(code)
            world.elapse()
        assert [dial.ask_credential for dial in world.dials] == [False, True, False, False, False]

    def test_a_server_that_takes_the_login_and_then_refuses_it_is_not_hammered(self) -> None:
        world = World()
        world.start()
        waits = []
        for _ in range(4):
            world.succeed()
            world.lose(Code.AUTH, after=0.05)
            waits.append(world.elapse())
        assert waits == pytest.approx([1.0, 60.0, 120.0, 240.0])

    def test_refusals_do_not_let_the_backoff_grow(self) -> None:
        world = World()
        world.start()
        world.fail(Code.AUTH)
        world.elapse()
        world.fail(Code.TIMEOUT)
        assert world.delay == 10.0


class TestChangedCredential:
    def test_it_revives_a_parked_login_at_once(self) -> None:
        world = TestRefusedLogin().parked()
        world.feed(sig.CredentialChanged())
        assert world.last.effects == (eff.Dial(3, ask_credential=False),)
        assert world.kinds == [Kind.REVIVED, Kind.ATTEMPT_STARTED]

    def test_the_new_one_may_be_refused_twice(self) -> None:
        world = TestRefusedLogin().parked()
        world.feed(sig.CredentialChanged())
        assert world.fail_until_given_up(Code.AUTH) == 2

    def test_it_cuts_the_wait_of_a_refused_login_short(self) -> None:
        world = World()
        world.connect()
        world.lose(Code.AUTH)
        world.elapse()
        world.fail(Code.AUTH)
        assert world.delay == 60.0
        world.feed(sig.CredentialChanged())
        assert world.last.effects == (eff.Unschedule(), eff.Dial(3))

    def test_it_leaves_the_wait_of_another_trouble_alone(self) -> None:
        world = World()
        world.start()
        world.fail(Code.TIMEOUT)
        world.feed(sig.CredentialChanged())
        assert world.last.effects == ()
        assert world.delay == 10.0

    def test_it_leaves_a_live_connection_and_a_dial_alone(self) -> None:
        for place in [(Status.CONNECTED, Activity.LIVE), (Status.RECONNECTING, Activity.DIALING)]:
            world = at(*place)
            world.feed(sig.CredentialChanged())
            assert (world.last.effects, world.last.facts) == ((), ())

    def test_that_the_old_one_worked_says_nothing_about_the_new_one(self) -> None:
        world = World()
        world.connect()
        world.feed(sig.CredentialChanged())
        world.lose(Code.RESET)
        world.elapse()
        world.fail(Code.AUTH)
        world.elapse()
        world.fail(Code.AUTH)
        assert world.link.status is Status.FAILED

    def test_while_paused_it_is_remembered_for_later(self) -> None:
        world = World()
        world.start()
        world.fail(Code.AUTH)
        world.feed(sig.Pause())
        world.feed(sig.CredentialChanged())
        assert not world.last.effects
        world.feed(sig.Resume())
        assert world.last.effects == (eff.Dial(2, ask_credential=False),)

    def test_a_parked_login_that_is_forced_gets_exactly_one_more_attempt(self) -> None:
        world = TestRefusedLogin().parked()
        for times in range(1, 6):
            world.feed(sig.Force())
            assert world.dials[-1] == eff.Dial(2 + times, ask_credential=True)
            world.fail(Code.AUTH)
            assert world.link.status is Status.FAILED
            assert len(world.dials) == 2 + times
