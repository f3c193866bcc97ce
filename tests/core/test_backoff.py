"""The backoffs: their formulas, their caps, their dice, and what they refuse."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from inspect import signature
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.world import deterministic
from tether.backoff import (
    Backoff,
    decorrelated_jitter,
    exponential_backoff,
    fixed_interval,
    full_jitter,
    grpc_backoff,
    jittered_backoff,
    linear_backoff,
)
from tether.core.backoff import CEILING, starts_at_attempt
from tether.errors import ConfigError


class Loaded(random.Random):
    """A random source that always shows the same."""

    def __init__(self, shows: float) -> None:
        super().__init__(0)
        self.shows = shows

    def random(self) -> float:
        return self.shows


ALMOST = math.nextafter(1.0, 0.0)
"""The most that a random source can show."""

ANY = st.floats(0, allow_infinity=False)
"""Every duration that is accepted."""

Maker = Callable[[random.Random], Backoff]

ALL: dict[str, Maker] = {
    "exponential": lambda r: exponential_backoff(1, 2, random=r),
    "exponential, capped": lambda r: exponential_backoff(1, 2, maximum=60, random=r),
    "exponential, jittered": lambda r: exponential_backoff(1, 2, maximum=60, jitter=0.1, random=r),
    "linear": lambda _: linear_backoff(1),
    "fixed": lambda _: fixed_interval(1),
    "jittered": lambda r: jittered_backoff(1, 1, random=r),
    "full jitter": lambda r: full_jitter(1, 2, maximum=60, random=r),
    "decorrelated": lambda r: decorrelated_jitter(1, 60, random=r),
    "grpc": lambda r: grpc_backoff(random=r),
}
WITH_JITTER = ["exponential, jittered", "jittered", "full jitter", "decorrelated", "grpc"]

AT_THE_CAP: list[tuple[str, Maker, float, float]] = [
    ("exponential 10 %", lambda r: exponential_backoff(1, 2, maximum=60, jitter=0.1, random=r), 54.0, 66.0),
    ("exponential 100 %", lambda r: exponential_backoff(1, 2, maximum=60, jitter=1, random=r), 0.0, 120.0),
    (
        "exponential without maximum",
        lambda r: exponential_backoff(jitter=0.1, random=r),
        0.9 * CEILING,
        1.1 * CEILING,
    ),
    ("full jitter", lambda r: full_jitter(1, 2, maximum=60, random=r), 0.0, 60.0),
    ("decorrelated", lambda r: decorrelated_jitter(1, 60, random=r), 1.0, 60.0),
    ("grpc", lambda r: grpc_backoff(random=r), 96.0, 144.0),
]


class TestFormulas:
    @pytest.mark.parametrize(
        ("backoff", "delays"),
        [
            (exponential_backoff(), [1, 2, 4, 8, 16, 32]),
            (exponential_backoff(0.5, 3), [0.5, 1.5, 4.5, 13.5]),
            (exponential_backoff(1, 2, maximum=10), [1, 2, 4, 8, 10, 10, 10]),
            (exponential_backoff(20, 2, maximum=10), [10, 10]),
            (exponential_backoff(3, 1), [3, 3, 3]),
            (exponential_backoff(0, 2), [0, 0, 0]),
            (exponential_backoff("500ms", 2, maximum="1s"), [0.5, 1, 1]),
            (exponential_backoff(timedelta(minutes=1)), [60, 120]),
            (linear_backoff(0.5), [0.5, 1, 1.5, 2]),
            (linear_backoff(0), [0, 0]),
            (fixed_interval(3), [3, 3, 3]),
            (fixed_interval(0), [0, 0]),
            (fixed_interval("1m30s"), [90, 90]),
            (jittered_backoff(1, 0), [1, 2, 4, 8]),
            (jittered_backoff(1, 4, random=Loaded(0.25)), [2, 3, 5, 9]),
            (full_jitter(1, 2, maximum=10, random=Loaded(0.5)), [0.5, 1, 2, 4, 5, 5]),
            (full_jitter(1, 3, random=Loaded(0.5)), [0.5, 1.5, 4.5]),
            (decorrelated_jitter(1, 60, random=Loaded(0.0)), [1, 1, 1]),
            (decorrelated_jitter(1, 60, random=Loaded(0.5)), [2, 5, 14, 30.5, 30.5]),
            (decorrelated_jitter(2, 2, random=Loaded(0.5)), [2, 2]),
            (exponential_backoff(1, 2, jitter=0.1, random=Loaded(0.0)), [0.9, 1.8, 3.6]),
            (exponential_backoff(1, 2, jitter=0.1, random=Loaded(0.5)), [1, 2, 4]),
            (exponential_backoff(1, 2, jitter=0.1, random=Loaded(ALMOST)), [1.1, 2.2, 4.4]),
            (grpc_backoff(random=Loaded(0.5)), [1, 1.6, 2.56, 4.096]),
            (grpc_backoff(random=Loaded(0.0)), [0.8, 1.28]),
            (grpc_backoff(random=Loaded(ALMOST)), [1.2, 1.92]),
        ],
        ids=repr,
    )
    def test_the_delays_are_those_of_the_formula(self, backoff: Backoff, delays: list[float]) -> None:
        assert [backoff(count) for count in range(len(delays))] == pytest.approx(delays)

    def test_grpc_reaches_its_cap_of_two_minutes(self) -> None:
        assert [grpc_backoff(random=Loaded(0.5))(count) for count in (10, 11, 500)] == pytest.approx(
            [1.6**10, 120, 120]
        )

    def test_only_grpc_is_counted_from_the_attempts_start(self) -> None:
        counted = {name for name, make in ALL.items() if starts_at_attempt(make(random.Random(1)))}
        assert counted == {"grpc"}
        assert not starts_at_attempt(lambda _: 1.0)

    def test_a_users_own_callable_may_ask_for_that_too(self) -> None:
        def backoff(count: int) -> float:
            return 1.0

        backoff.from_attempt_start = True  # type: ignore[attr-defined]
        assert starts_at_attempt(backoff)


class TestNeverTooLong:
    @pytest.mark.parametrize("name", ALL)
    @pytest.mark.parametrize("count", [1023, 1024, 1025, 5_000, 10**6, 10**9, 10**400])
    def test_a_huge_count_gives_a_finite_delay(self, name: str, count: int) -> None:
        delay = ALL[name](random.Random(1))(count)
        assert math.isfinite(delay)
        assert 0 <= delay <= 1.1 * CEILING

    def test_a_base_so_tiny_that_only_its_growth_would_overflow_grows_on(self) -> None:
        assert exponential_backoff(1e-320)(1040) == pytest.approx(1e-320 * 2.0**1000 * 2.0**40)
        assert exponential_backoff(1e-320)(1200) == CEILING

    def test_no_growth_stays_no_growth(self) -> None:
        assert exponential_backoff(3, 1)(10**400) == 3.0

    def test_without_a_maximum_it_is_finite_all_the_same(self) -> None:
        assert exponential_backoff()(10**6) == CEILING
        assert linear_backoff(7)(10**18) == CEILING

    @pytest.mark.parametrize(
        ("name", "make", "least", "most"), AT_THE_CAP, ids=[row[0] for row in AT_THE_CAP]
    )
    def test_six_thousand_failures_stay_within_the_cap(
        self, name: str, make: Maker, least: float, most: float
    ) -> None:
        backoff = make(random.Random(7))
        assert max(backoff(count) for count in range(6000)) <= most

    @deterministic
    @given(
        base=st.just(0.0) | st.floats(1e-12, 1e9),
        factor=st.floats(1, 1e6),
        cap_and_spread=st.tuples(st.none() | st.floats(1e-6, 1e9), st.none() | st.floats(0, 1)),
        count=st.integers(0, 10**7),
        shows=st.floats(0, ALMOST),
    )
    def test_exponential_is_finite_and_within_the_cap_whatever_its_settings(
        self,
        base: float,
        factor: float,
        cap_and_spread: tuple[float | None, float | None],
        count: int,
        shows: float,
    ) -> None:
        maximum, jitter = cap_and_spread
        delay = exponential_backoff(base, factor, maximum, jitter, random=Loaded(shows))(count)
        cap, spread = maximum or CEILING, jitter or 0.0
        assert 0 <= delay <= cap * (1 + spread) * (1 + 1e-9)
        nominal = min(cap, base * factor ** min(count, 20))
        assert delay >= nominal * (1 - spread) * (1 - 1e-9)

    @deterministic
    @given(
        base=st.floats(1e-6, 1e9),
        above=st.floats(1, 1e6),
        count=st.integers(0, 10**7),
        shows=st.floats(0, ALMOST),
        extra=st.floats(0, 1e9),
    )
    def test_the_others_are_finite_and_within_their_bounds_whatever_their_settings(
        self, base: float, above: float, count: int, shows: float, extra: float
    ) -> None:
        dice = Loaded(shows)
        maximum = min(1e9, base * above)
        assert 0 <= linear_backoff(base)(count) <= CEILING
        assert fixed_interval(base)(count) == base
        assert 0 <= full_jitter(base, 2, maximum, random=dice)(count) <= maximum
        assert base <= decorrelated_jitter(base, maximum, random=dice)(count) <= maximum * (1 + 1e-9)
        assert 0 <= jittered_backoff(base, extra, random=dice)(count) <= CEILING + extra

    @deterministic
    @given(
        base=st.just(0.0) | st.floats(1e-12, 1e3),
        factor=st.floats(1, 10),
        maximum=st.floats(1e-3, 1e6),
        count=st.integers(0, 5000),
    )
    def test_without_jitter_no_delay_is_shorter_than_the_one_before(
        self, base: float, factor: float, maximum: float, count: int
    ) -> None:
        for backoff in (exponential_backoff(base, factor, maximum), linear_backoff(base)):
            assert backoff(count) <= backoff(count + 1)

    @pytest.mark.parametrize(
        "delay",
        [
            lambda: exponential_backoff(1e-320)(10**6),
            lambda: exponential_backoff(0.001, 2, 1e308)(2000),
            lambda: exponential_backoff(10, 2, 5e-324)(3),
            lambda: exponential_backoff(1, 2, 1.7e308, 1.0, random=Loaded(ALMOST))(2000),
            lambda: decorrelated_jitter(1e-320, 60)(10**6),
            lambda: exponential_backoff()(10**400),
        ],
        ids=[
            "tiny base",
            "huge maximum",
            "tiny maximum",
            "huge maximum, jitter",
            "decorrelated",
            "huge count",
        ],
    )
    def test_the_ends_of_the_range_of_floats_are_refused_or_do_not_overflow(
        self, delay: Callable[[], float]
    ) -> None:
        result: float | ConfigError
        try:
            result = delay()
        except ConfigError as error:
            result = error
        assert isinstance(result, ConfigError) or math.isfinite(result)

    @deterministic
    @given(
        base=ANY,
        factor=st.floats(1, allow_infinity=False),
        maximum=ANY,
        extra=ANY,
        count=st.integers(0, 10**9),
    )
    def test_no_settings_that_are_accepted_overflow(
        self, base: float, factor: float, maximum: float, extra: float, count: int
    ) -> None:
        dice = Loaded(ALMOST)
        made: list[Backoff] = []
        for make in (
            lambda: exponential_backoff(base, factor, maximum, 1.0, random=dice),
            lambda: linear_backoff(base),
            lambda: jittered_backoff(base, extra, random=dice),
            lambda: full_jitter(base, factor, maximum, random=dice),
            lambda: decorrelated_jitter(base, maximum, random=dice),
        ):
            try:
                made.append(make())
            except ConfigError:
                continue
        for backoff in made:
            assert math.isfinite(backoff(count))
            assert backoff(count) >= 0


class TestJitter:
    """Jitter is applied after the cap: thousands of clients at the cap are still dispersed."""

    @pytest.mark.parametrize(
        ("name", "make", "least", "most"), AT_THE_CAP, ids=[row[0] for row in AT_THE_CAP]
    )
    def test_ten_thousand_delays_at_the_cap_are_dispersed_over_their_whole_range(
        self, name: str, make: Maker, least: float, most: float
    ) -> None:
        backoff = make(random.Random(20_000))
        delays = [backoff(100) for _ in range(10_000)]
        _, times = Counter(delays).most_common(1)[0]
        assert times <= 100
        assert least <= min(delays)
        assert max(delays) <= most
        assert max(delays) - min(delays) > 0.99 * (most - least)
        tenth = (most - least) / 10
        in_each = Counter(min(9, int((delay - least) / tenth)) for delay in delays)
        assert all(850 <= in_each[part] <= 1150 for part in range(10))

    @pytest.mark.parametrize("name", WITH_JITTER)
    def test_it_is_drawn_anew_for_every_delay(self, name: str) -> None:
        backoff = ALL[name](random.Random(3))
        assert len({backoff(4) for _ in range(100)}) == 100

    @pytest.mark.parametrize("name", sorted(set(ALL) - set(WITH_JITTER)))
    def test_the_others_have_none(self, name: str) -> None:
        assert len({ALL[name](random.Random(seed))(4) for seed in range(10)}) == 1

    @pytest.mark.parametrize("name", WITH_JITTER)
    def test_the_same_seed_gives_the_same_delays(self, name: str) -> None:
        def delays(seed: int) -> list[float]:
            backoff = ALL[name](random.Random(seed))
            return [backoff(count) for count in range(20)]

        assert delays(5) == delays(5)
        assert delays(5) != delays(6)

    @pytest.mark.parametrize(
        "make",
        [
            lambda: exponential_backoff(jitter=0.1),
            lambda: jittered_backoff(1, 1),
            full_jitter,
            lambda: decorrelated_jitter(1, 60),
            grpc_backoff,
        ],
        ids=WITH_JITTER,
    )
    def test_by_default_the_dice_are_those_of_the_random_module(self, make: Callable[[], Backoff]) -> None:
        state = random.getstate()
        try:
            random.seed(99)
            first = make()(3)
            random.seed(99)
            assert make()(3) == first
            assert make()(3) != first
        finally:
            random.setstate(state)

    def test_it_only_ever_adds_where_the_name_says_so(self) -> None:
        backoff = jittered_backoff(1, 0.5, random=random.Random(1))
        for count in range(10):
            assert all(2**count <= backoff(count) < 2**count + 0.5 for _ in range(100))


class TestSharing:
    @pytest.mark.parametrize("name", ALL)
    def test_a_delay_depends_on_the_count_alone_and_on_no_earlier_call(self, name: str) -> None:
        alone = ALL[name](Loaded(0.3))
        shared = ALL[name](Loaded(0.3))
        for count in (0, 50, 3, 1000, 0):
            shared(count)
        assert [shared(count) for count in range(5)] == [alone(count) for count in range(5)]

    @pytest.mark.parametrize("name", ALL)
    def test_equal_settings_make_equal_policies_that_cannot_be_changed(self, name: str) -> None:
        one, other = ALL[name](random.Random(1)), ALL[name](random.Random(2))
        assert one == other
        assert hash(one) == hash(other)
        with pytest.raises((AttributeError, TypeError)):
            one.base = 7  # type: ignore[attr-defined]

    def test_a_policy_shows_its_settings(self) -> None:
        assert "base=1.0, factor=2.0, maximum=60.0, jitter=0.1" in repr(exponential_backoff(1, 2, 60, 0.1))

    def test_one_policy_serves_many_threads(self) -> None:
        backoff = exponential_backoff(1, 2, maximum=60)
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(backoff, [5] * 1000)) == {32.0}


NO_DURATION = [-1, -0.001, math.nan, math.inf, True, "soon", "", "-1s", timedelta(-1), []]
NO_FACTOR = [0.99, 0, -2, math.nan, math.inf, True, "2", None]
NO_FRACTION = [-0.1, 1.1, 10, math.nan, True, "10%", "0.1"]

PARAMETERS: list[tuple[Callable[..., Backoff], str, list[Any]]] = [
    (exponential_backoff, "base", [*NO_DURATION, None]),
    (exponential_backoff, "factor", NO_FACTOR),
    (exponential_backoff, "maximum", [*NO_DURATION, 0, "0s"]),
    (exponential_backoff, "jitter", NO_FRACTION),
    (linear_backoff, "base", [*NO_DURATION, None]),
    (fixed_interval, "interval", [*NO_DURATION, None]),
    (jittered_backoff, "base", [*NO_DURATION, None]),
    (jittered_backoff, "max_jitter", [*NO_DURATION, None]),
    (full_jitter, "base", [*NO_DURATION, None]),
    (full_jitter, "factor", NO_FACTOR),
    (full_jitter, "maximum", [*NO_DURATION, 0, "0s"]),
    (decorrelated_jitter, "base", [*NO_DURATION, None, 0]),
    (decorrelated_jitter, "maximum", [*NO_DURATION, None, 0, 0.5]),
]
NONSENSE = [
    pytest.param(make, what, value, id=f"{make.__name__}({what}={value!r})")
    for make, what, values in PARAMETERS
    for value in values
]


class TestMisuse:
    @pytest.mark.parametrize(("make", "what", "value"), NONSENSE)
    def test_nonsense_is_one_clear_error_that_names_the_parameter_and_the_mend(
        self, make: Callable[..., Backoff], what: str, value: Any
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            make(**{what: value})
        message = str(caught.value)
        assert message.startswith(f"{what}: ")
        assert "\n" not in message
        assert any(mend in message for mend in ("write seconds", "must be", "make it"))
        assert caught.value.__cause__ is None

    def test_every_parameter_but_the_dice_is_tried_with_nonsense(self) -> None:
        tried = {(make.__name__, what) for make, what, _ in PARAMETERS}
        for make in {make for make, _, _ in PARAMETERS}:
            assert {(make.__name__, name) for name in signature(make).parameters if name != "random"} <= tried

    @pytest.mark.parametrize("name", ALL)
    def test_a_negative_count_is_refused(self, name: str) -> None:
        with pytest.raises(
            ConfigError, match=r"retry_count: -1 is negative; it counts failed attempts, from 0"
        ):
            ALL[name](random.Random(1))(-1)

    def test_a_config_error_is_a_value_error(self) -> None:
        with pytest.raises(ValueError, match="factor"):
            exponential_backoff(factor=0.5)

    def test_the_message_shows_the_value(self) -> None:
        with pytest.raises(ConfigError, match="'soon'"):
            exponential_backoff("soon")
        with pytest.raises(ConfigError, match=r"maximum: 5 s is less than base, 10 s"):
            decorrelated_jitter(10, 5)

    @pytest.mark.parametrize(
        "call",
        [lambda: exponential_backoff(10**400), lambda: full_jitter(random=5)],  # type: ignore[arg-type]
        ids=["an integer beyond all floats", "dice that are no dice"],
    )
    def test_rarer_nonsense_is_a_config_error_too(self, call: Callable[[], Any]) -> None:
        with pytest.raises(ConfigError):
            call()
