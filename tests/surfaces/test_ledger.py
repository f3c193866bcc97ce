"""The fate of every message, counted once."""

from __future__ import annotations

from tether.surfaces.demo.ledger import FORGET, SETTLE, Ledger
from tether.surfaces.demo.model import Counts


def test_sent_is_what_the_server_acknowledged_and_received_what_came() -> None:
    ledger = Ledger()
    ledger.acknowledged(1, 0.0)
    ledger.received(1, 0.001)
    ledger.refused(2)
    ledger.unsure(3)

    assert ledger.counts(9.0) == Counts(sent=1, received=1, refused=1, unsure=1)
    assert ledger.last_received_at == 0.001


def test_a_message_counts_as_missed_when_it_had_time_to_come_and_did_not() -> None:
    ledger = Ledger()
    ledger.acknowledged(1, 10.0)

    assert ledger.in_flight(10.1)
    assert ledger.counts(10.1).missed == 0
    assert not ledger.in_flight(10.0 + SETTLE)
    assert ledger.counts(10.0 + SETTLE).missed == 1


def test_one_that_comes_late_all_the_same_is_not_missed_any_more() -> None:
    ledger = Ledger()
    ledger.acknowledged(1, 10.0)
    ledger.received(1, 20.0)

    assert ledger.counts(30.0) == Counts(sent=1, received=1)


def test_the_message_may_overtake_its_acknowledgement() -> None:
    ledger = Ledger()
    ledger.received(1, 0.0)
    ledger.acknowledged(1, 0.001)

    assert ledger.counts(9.0) == Counts(sent=1, received=1)


def test_an_unsure_one_that_comes_was_sent() -> None:
    before, after = Ledger(), Ledger()
    before.received(1, 0.0)
    before.unsure(1)
    after.unsure(1)
    after.received(1, 0.0)

    assert before.counts(9.0) == after.counts(9.0) == Counts(sent=1, received=1)


def test_a_message_that_comes_twice_counts_once() -> None:
    ledger = Ledger()
    ledger.acknowledged(1, 0.0)
    ledger.received(1, 0.0)
    ledger.received(1, 0.0)
    ledger.received(2, 0.0)
    ledger.received(2, 0.0)

    assert ledger.counts(9.0) == Counts(sent=1, received=2)


def test_missed_messages_stay_counted_and_are_not_kept_for_ever() -> None:
    ledger = Ledger()
    for number in range(1, 1001):
        ledger.acknowledged(number, number / 20)

    assert ledger.counts(50.0 + FORGET) == Counts(sent=1000, missed=1000)
    assert not ledger._open
    assert ledger.counts(51.0 + FORGET).missed == 1000


def test_counts_add_up_and_subtract() -> None:
    one, two = Counts(5, 4, 1, 3, 2), Counts(1, 1, 0, 1, 1)

    assert one - two == Counts(4, 3, 1, 2, 1)
    assert one - two + two == one
