"""How many failed probes in a row make a loss."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.world import deterministic
from tether.core.health import Health


def after(verdicts: str, threshold: int = 1) -> Health:
    """Return the health after verdicts such as ``'+-+'``."""
    health = Health(threshold)
    for verdict in verdicts:
        health = health.updated(ok=verdict == "+")
    return health


@pytest.mark.parametrize(
    ("threshold", "verdicts", "lost"),
    [
        (1, "", False),
        (1, "+", False),
        (1, "-", True),
        (1, "-+", False),
        (3, "--", False),
        (3, "---", True),
        (3, "----", True),
        (3, "--+--", False),
        (3, "--+---", True),
        (3, "---+", False),
    ],
)
def test_it_is_lost_once_the_threshold_of_failures_in_a_row_is_reached(
    threshold: int, verdicts: str, lost: bool
) -> None:
    assert after(verdicts, threshold).is_lost is lost


def test_by_default_one_failure_is_enough() -> None:
    assert not Health().is_lost
    assert Health().updated(ok=False).is_lost


def test_a_good_probe_on_top_of_a_good_one_makes_nothing_new() -> None:
    health = Health(3)
    assert health.updated(ok=True) is health


def test_a_verdict_leaves_the_old_health_as_it_was() -> None:
    health = Health(3)
    health.updated(ok=False)
    assert health == Health(3, consecutive_failures=0)
    with pytest.raises(FrozenInstanceError):
        health.consecutive_failures = 1  # type: ignore[misc]


@deterministic
@given(st.text("+-"), st.integers(1, 5))
def test_only_the_failures_since_the_last_good_probe_count(verdicts: str, threshold: int) -> None:
    health = after(verdicts, threshold)
    in_a_row = len(verdicts) - len(verdicts.rstrip("-"))
    assert health.consecutive_failures == in_a_row
    assert health.failure_threshold == threshold
    assert health.is_lost is (in_a_row >= threshold)
