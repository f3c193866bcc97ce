"""The one table by which a status moves."""

from __future__ import annotations

from itertools import product

import pytest

from tether.core.lifecycle import TRANSITIONS, Status, Trigger, target
from tether.errors import IllegalTransition, TetherError, UsageError

# The specification, word for word, without `any → disconnected by stop()`.
SPECIFIED = """
    disconnected → connecting
    connecting → connected | reconnecting | failed
    connected → reconnecting | disconnected
    reconnecting → connected | failed
    failed → connecting
"""


def specified_edges() -> set[tuple[str, str]]:
    edges = set()
    for line in SPECIFIED.split("\n"):
        before, arrow, after = line.partition("→")
        if arrow:
            edges |= {(before.strip(), status.strip()) for status in after.split("|")}
    return edges


def test_statuses_are_their_public_names() -> None:
    assert [str(status) for status in Status] == [
        "disconnected",
        "connecting",
        "connected",
        "reconnecting",
        "failed",
    ]
    assert all(status == status.value for status in Status)


def test_the_table_has_a_row_for_every_status() -> None:
    assert set(TRANSITIONS) == set(Status)


def test_every_trigger_is_in_the_table() -> None:
    assert {trigger for row in TRANSITIONS.values() for trigger in row} == set(Trigger)


def test_the_table_leads_nowhere_else() -> None:
    assert {after for row in TRANSITIONS.values() for after in row.values()} == set(Status)


def test_the_edges_are_exactly_those_of_the_specification() -> None:
    edges = {
        (before.value, after.value)
        for before, row in TRANSITIONS.items()
        for trigger, after in row.items()
        if trigger is not Trigger.STOP and before is not after
    }
    assert edges == specified_edges()


def test_stop_is_legal_everywhere_and_always_ends_in_disconnected() -> None:
    assert {status: target(status, Trigger.STOP) for status in Status} == dict.fromkeys(
        Status, Status.DISCONNECTED
    )


def test_every_status_can_be_reached_from_every_other() -> None:
    for origin in Status:
        reached = {origin}
        while more := {after for status in reached for after in TRANSITIONS[status].values()} - reached:
            reached |= more
        assert reached == set(Status), origin


@pytest.mark.parametrize(
    ("before", "trigger", "after"),
    [
        ("disconnected", "start", "connecting"),
        ("connecting", "connect", "connected"),
        ("connecting", "fail", "connecting"),
        ("connecting", "fail_again", "reconnecting"),
        ("connecting", "give_up", "failed"),
        ("connected", "lose", "reconnecting"),
        ("connected", "end", "disconnected"),
        ("reconnecting", "connect", "connected"),
        ("reconnecting", "fail", "reconnecting"),
        ("reconnecting", "give_up", "failed"),
        ("failed", "revive", "connecting"),
    ],
)
def test_a_trigger_leads_where_its_name_says(before: str, trigger: str, after: str) -> None:
    assert target(Status(before), Trigger(trigger)) is Status(after)


ABSENT = [pair for pair in product(Status, Trigger) if pair[1] not in TRANSITIONS[pair[0]]]


@pytest.mark.parametrize(("status", "trigger"), ABSENT, ids="-".join)
def test_an_absent_entry_is_an_error_that_names_both_and_changes_nothing(
    status: Status, trigger: Trigger
) -> None:
    before = {status: dict(row) for status, row in TRANSITIONS.items()}
    with pytest.raises(IllegalTransition) as caught:
        target(status, trigger)
    assert status.value in str(caught.value)
    assert trigger.value in str(caught.value)
    assert caught.value.__suppress_context__
    assert {status: dict(row) for status, row in TRANSITIONS.items()} == before


def test_there_are_illegal_transitions() -> None:
    assert len(ABSENT) == len(Status) * len(Trigger) - 16


def test_an_illegal_transition_is_a_misuse_that_one_can_catch_by_any_of_its_kinds() -> None:
    assert issubclass(IllegalTransition, UsageError)
    assert issubclass(IllegalTransition, TetherError)
    assert issubclass(IllegalTransition, RuntimeError)
