"""The closing table, the verdict and the exit code."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.surfaces.scenes import CUT_SHORT, FROZEN, HEALED, NOT_BACK, NOT_NOTICED, SILENT, shown
from tether.surfaces.demo.model import Counts, Result
from tether.surfaces.demo.report import exit_code, table, verdict


def test_zero_only_if_every_fault_was_seen_and_healed() -> None:
    assert exit_code([HEALED, HEALED, FROZEN], 3) == 0


@pytest.mark.parametrize("sick", [NOT_BACK, NOT_NOTICED, SILENT, CUT_SHORT])
def test_one_if_any_fault_did_not_heal(sick: Result) -> None:
    assert exit_code([HEALED, HEALED, sick], 3) == 1


def test_one_if_the_tour_was_not_gone_to_its_end() -> None:
    assert exit_code([HEALED, HEALED], 3) == 1
    assert exit_code([], 3) == 1


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_and_says_all_of_every_fault(width: int) -> None:
    text = shown(table([HEALED, FROZEN, NOT_BACK], width=width), width=width)

    assert max(map(len, text.splitlines())) <= width
    for said in (
        "kill -9,",
        "freeze,",
        "clean stop,",
        "2ms",
        "1.2s",
        "eof",
        "connection dropped",
        "510ms",
        "NO",
    ):
        assert said in text
    for heading in ("fault", "noticed", "named cause", "back", "attempts", "out", "in", "missed", "healed"):
        assert heading in text


def test_the_table_may_have_a_title() -> None:
    assert "round 2" in shown(table([HEALED], title="round 2"))


def test_the_verdict_comes_first() -> None:
    assert verdict([HEALED, FROZEN, HEALED])[0] == "All 3 faults healed."
    assert verdict([HEALED])[0] == "1 fault healed."
    assert verdict([HEALED, NOT_BACK, FROZEN])[0] == "1 of 3 faults did NOT heal: clean stop, restart."
    assert verdict([HEALED, CUT_SHORT])[0] == "1 fault healed."
    assert verdict([CUT_SHORT])[0] == verdict([])[0] == "No fault was seen to its end."


def test_messages_that_did_not_get_through_are_accounted_for() -> None:
    lost = replace(HEALED, counts=Counts(sent=60, received=59, missed=1, refused=70, unsure=1))
    text = "\n".join(verdict([HEALED, lost]))

    assert "140 messages never left" in text
    assert "1 message was under way" in text
    assert "Redis pub/sub keeps nothing" in text
    assert "keeps nothing" not in "\n".join(verdict([HEALED]))
