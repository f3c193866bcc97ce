"""Which clock applies to the next attempt, and that no policy can make it a nonsense one."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.core.world import deterministic, half, lin
from tether.backoff import exponential_backoff, fixed_interval, grpc_backoff
from tether.core.backoff import CEILING, Backoff
from tether.core.cause import Cause, Code, Recovery
from tether.core.hint import RetryHint
from tether.core.schedule import QUICK, Plan, Wait, delay_after_failure, delay_after_loss

INTERVALS: list[Backoff] = [
    exponential_backoff(1, 2, maximum=60, jitter=0.1),
    fixed_interval(0),
    grpc_backoff(),
    lin,
    lambda _: -1.0,
    lambda _: float("nan"),
    lambda _: float("inf"),
    lambda _: 10**300,
]
plans = st.builds(Plan, interval=st.sampled_from(INTERVALS), quick_first=st.booleans())
causes = st.tuples(st.sampled_from(Code), st.none() | st.floats(-1e6, 1e6))
chances = st.floats(0, 1, exclude_max=True)
counts = st.integers(0, 10**6)

NOW = 5000.0


def cause_with(code_and_hint: tuple[Code, float | None]) -> Cause:
    code, hint = code_and_hint
    return Cause(code, hint=None if hint is None else RetryHint(NOW + hint))


def is_in_order(wait: Wait, cause: Cause, level: int) -> bool:
    """Whether a wait is finite, no nonsense, and not earlier than the peer asked."""
    asked = 0.0 if cause.hint is None else cause.hint.not_before - NOW
    return (
        math.isfinite(wait.delay)
        and max(0.0, asked - 1e-6) <= wait.delay <= 1.25 * CEILING
        and 0 <= wait.level <= level + 1
    )


@deterministic
@given(plans, causes, st.tuples(counts, counts), st.floats(0, 1e6), chances)
@example(Plan(lin), (Code.AUTH, None), (0, 10**6), 0.0, 0.9999999999)
def test_every_wait_after_a_failure_is_finite_and_no_earlier_than_the_peer_asked(
    plan: Plan, code_and_hint: tuple[Code, float | None], figures: tuple[int, int], took: float, rand: float
) -> None:
    cause, (level, refusals) = cause_with(code_and_hint), figures
    wait = delay_after_failure(
        plan, cause, level=level, refusals=refusals, started=NOW - took, now=NOW, rand=lambda: rand
    )
    assert is_in_order(wait, cause, level)


@deterministic
@given(plans, causes, counts, st.booleans(), chances)
def test_every_wait_after_a_loss_is_finite_and_no_earlier_than_the_peer_asked(
    plan: Plan, code_and_hint: tuple[Code, float | None], level: int, stable: bool, rand: float
) -> None:
    cause = cause_with(code_and_hint)
    wait = delay_after_loss(plan, cause, level=level, stable=stable, now=NOW, rand=lambda: rand)
    assert is_in_order(wait, cause, level)


@pytest.mark.parametrize(
    ("answer", "bounded"),
    [
        (-1.0, 0.0),
        (math.nan, 0.0),
        (math.inf, CEILING),
        (-math.inf, 0.0),
        (1e300, CEILING),
        (True, 1.0),
        (7, 7.0),
    ],
)
def test_what_a_users_own_backoff_says_is_bounded(answer: float, bounded: float) -> None:
    wait = delay_after_failure(
        Plan(lambda _: answer), Cause(Code.RESET), level=3, refusals=0, started=0.0, now=0.0, rand=half
    )
    assert wait == Wait(bounded, 4)
    assert type(wait.delay) is float


def test_the_backoff_is_asked_for_the_level_it_has_grown_to() -> None:
    asked: list[int] = []

    def backoff(level: int) -> float:
        asked.append(level)
        return 1.0

    for level in (0, 1, 7):
        delay_after_failure(
            Plan(backoff), Cause(Code.RESET), level=level, refusals=0, started=0.0, now=0.0, rand=half
        )
    assert asked == [0, 1, 7]


@pytest.mark.parametrize("code", [c for c in Code if Cause(c).recovery is Recovery.BACKOFF], ids=str)
@pytest.mark.parametrize("rand", [0.0, 0.5, 0.999])
def test_a_quick_first_wait_is_drawn_from_zero_to_a_tenth_of_a_second(code: Code, rand: float) -> None:
    wait = delay_after_loss(Plan(lin), Cause(code), level=9, stable=True, now=0.0, rand=lambda: rand)
    assert wait.delay == pytest.approx(0.1 * rand)
    assert wait.level == 0
    assert QUICK == 0.1


@pytest.mark.parametrize(
    ("stable", "quick", "wait"),
    [(True, True, Wait(0.05, 0)), (True, False, Wait(10.0, 1)), (False, True, Wait(40.0, 4))],
)
def test_a_stable_connection_forgets_how_far_the_backoff_had_grown(
    stable: bool, quick: bool, wait: Wait
) -> None:
    plan = Plan(lin, quick_first=quick)
    assert delay_after_loss(plan, Cause(Code.RESET), level=3, stable=stable, now=0.0, rand=half) == wait


def test_a_refused_login_with_a_hint_waits_the_longer_of_both() -> None:
    def wait(hint: float, refusals: int) -> float:
        cause = Cause(Code.AUTH, hint=RetryHint(hint))
        return delay_after_failure(
            Plan(lin), cause, level=0, refusals=refusals, started=0.0, now=0.0, rand=half
        ).delay

    assert wait(0.1, refusals=1) == 1.0
    assert wait(8.0, refusals=1) == 9.0
    assert wait(8.0, refusals=2) == 60.0


def test_the_defaults_are_those_of_the_specification() -> None:
    plan = Plan(lin)
    assert (plan.max_retries, plan.stable_after, plan.reauth_delay, plan.quick_first) == (
        None,
        10.0,
        1.0,
        True,
    )
