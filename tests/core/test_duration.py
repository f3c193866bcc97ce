"""Durations as people write them, and as they read them."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.world import deterministic
from tether.core.duration import compact, seconds
from tether.errors import ConfigError


class TestReading:
    @pytest.mark.parametrize(
        ("value", "result"),
        [
            (0, 0.0),
            (5, 5.0),
            (1.5, 1.5),
            (timedelta(minutes=2, milliseconds=500), 120.5),
            ("5", 5.0),
            ("1.5", 1.5),
            ("500ms", 0.5),
            ("250us", 0.00025),
            ("1s", 1.0),
            ("1.5s", 1.5),
            ("5m", 300.0),
            ("2h", 7200.0),
            ("1d", 86400.0),
            ("1m30s", 90.0),
            ("1h0m5s", 3605.0),
            ("1d2h3m4s5ms6us", 93784.005006),
            (" 5 s ", 5.0),
            ("1m 30s", 90.0),
            ("5S", 5.0),
            ("1M30S", 90.0),
            ("0s", 0.0),
        ],
    )
    def test_it_is_float_seconds(self, value: Any, result: float) -> None:
        assert seconds(value) == pytest.approx(result)
        assert type(seconds(value)) is float

    @pytest.mark.parametrize(
        "value",
        ["", " ", "s", "soon", "5x", "5 seconds", "1.s", ".5s", "1e3", "0x10", "-5s", "+5s", "5s-", "1,5s", "--",
         "1:30", "nan", "inf", None, True, False, [], {}, b"5s", 5j, Decimal(5), object()],
        ids=repr,
    )  # fmt: skip
    def test_what_is_no_duration_is_refused_with_the_mend(self, value: Any) -> None:
        with pytest.raises(ConfigError) as caught:
            seconds(value, what="connect_timeout")
        message = str(caught.value)
        assert message.startswith(f"connect_timeout: {value!r} is not a duration; ")
        assert "'500ms', '1m30s', '5m'" in message

    @pytest.mark.parametrize(
        "value", [-1, -0.001, math.nan, math.inf, -math.inf, timedelta(seconds=-1), "9" * 400], ids=repr
    )
    def test_what_is_negative_or_endless_is_refused(self, value: Any) -> None:
        with pytest.raises(ConfigError, match=r"^stable_after: .*must be finite and not negative"):
            seconds(value, what="stable_after")

    @pytest.mark.parametrize("value", [0, 0.0, "0s", "0ms", timedelta(0)], ids=repr)
    def test_zero_is_refused_only_where_it_makes_no_sense(self, value: Any) -> None:
        assert seconds(value) == 0.0
        with pytest.raises(ConfigError, match=r"^timeout: must be longer than zero; write seconds"):
            seconds(value, what="timeout", positive=True)
        assert seconds(0.001, positive=True) == 0.001

    @pytest.mark.parametrize("value", ["1 5s", "1 2"])
    def test_two_numbers_are_not_one(self, value: str) -> None:
        with pytest.raises(ConfigError):
            seconds(value)

    def test_an_integer_beyond_all_floats_is_refused(self) -> None:
        with pytest.raises(ConfigError):
            seconds(10**400)

    @deterministic
    @given(st.text(max_size=12))
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        try:
            assert seconds(text) >= 0
        except ConfigError:
            pass

    @deterministic
    @given(
        st.integers(0, 400), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999)
    )
    def test_the_parts_of_a_text_add_up(self, d: int, h: int, m: int, s: int, ms: int) -> None:
        expected = timedelta(days=d, hours=h, minutes=m, seconds=s, milliseconds=ms).total_seconds()
        assert seconds(f"{d}d{h}h{m}m{s}s{ms}ms") == pytest.approx(expected)


class TestShowing:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (0, "0ms"),
            (0.0004, "0ms"),
            (0.05, "50ms"),
            (0.25, "250ms"),
            (0.9994, "999ms"),
            (0.9996, "1s"),
            (1, "1s"),
            (1.5, "1.5s"),
            (1.04, "1s"),
            (59.94, "59.9s"),
            (59.96, "1m"),
            (60, "1m"),
            (89.6, "1m30s"),
            (90, "1m30s"),
            (300, "5m"),
            (3599.6, "1h"),
            (3600, "1h"),
            (3605, "1h5s"),
            (7200, "2h"),
            (86400, "1d"),
            (90061, "1d1h"),
            (1e9, "11574d1h"),
        ],
    )
    def test_it_is_short_and_for_people(self, value: float, text: str) -> None:
        assert compact(value) == text

    @deterministic
    @given(st.floats(0, 1e9))
    def test_what_is_shown_can_be_read_again_and_is_nearly_the_same(self, value: float) -> None:
        again = seconds(compact(value))
        assert abs(again - value) <= max(0.000_500_1, 0.05 * value)
        assert len(compact(value)) <= 9

    @deterministic
    @given(st.integers(0, 999), st.integers(10, 599), st.integers(1, 59), st.integers(0, 59))
    def test_two_units_are_shown_exactly(self, ms: int, tenths: int, big: int, small: int) -> None:
        exact = [ms / 1000, tenths / 10, big * 60 + small, min(big, 23) * 3600 + small * 60]
        for value in exact:
            assert seconds(compact(value)) == pytest.approx(value, abs=1e-9)
            assert compact(seconds(compact(value))) == compact(value)
