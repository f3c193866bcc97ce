"""Come-back hints: never earlier than asked, and never for ever."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.world import deterministic
from tether.core.hint import LONGEST, RetryHint, parse_retry_after

NOW = 1000.0
WALL = datetime(2026, 11, 21, 8, 0, 0, tzinfo=UTC)


def parsed(text: str) -> float | None:
    """Return the seconds that a ``Retry-After`` asks for."""
    hint = parse_retry_after(text, now=NOW, wall=WALL)
    return None if hint is None else hint.not_before - NOW


class TestDelay:
    @pytest.mark.parametrize(("rand", "delay"), [(0.0, 8.0), (0.5, 9.0), (0.999, 9.998)])
    def test_it_is_what_is_left_and_up_to_a_quarter_more(self, rand: float, delay: float) -> None:
        assert RetryHint(NOW + 8).delay(NOW, rand) == pytest.approx(delay)

    def test_what_has_passed_is_not_waited_again(self) -> None:
        assert RetryHint(NOW + 8).delay(NOW + 6, 0.5) == pytest.approx(2.25)

    def test_a_time_that_is_over_is_no_wait(self) -> None:
        assert RetryHint(NOW - 8).delay(NOW, 0.999) == 0.0
        assert RetryHint(float("nan")).delay(NOW, 0.5) == 0.0

    @deterministic
    @given(st.floats(0, 1e9), st.floats(0, 1e9), st.floats(0, 1, exclude_max=True))
    def test_it_is_never_earlier_than_asked(self, not_before: float, now: float, rand: float) -> None:
        delay = RetryHint(not_before).delay(now, rand)
        left = max(0.0, not_before - now)
        assert left <= delay <= 1.25 * left

    def test_a_crowd_disperses(self) -> None:
        delays = {RetryHint(NOW + 8).delay(NOW, n / 1000) for n in range(1000)}
        assert len(delays) == 1000
        assert max(delays) - min(delays) > 1.99


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("text", "wait"),
        [
            ("5", 5.0),
            ("0", 0.0),
            (" 120 ", 120.0),
            ("1.5", 1.5),
            ("Sat, 21 Nov 2026 08:00:05 GMT", 5.0),
            ("Saturday, 21-Nov-26 08:00:05 GMT", 5.0),
            ("Sat Nov 21 08:00:05 2026", 5.0),
            ("Sat, 21 Nov 2026 09:00:05 +0100", 5.0),
            ("Sat, 21 Nov 2026 08:00:05 -0000", 5.0),
        ],
    )
    def test_it_is_read_as_seconds_and_as_a_date(self, text: str, wait: float) -> None:
        assert parsed(text) == pytest.approx(wait)

    @pytest.mark.parametrize(
        "text", ["-5", "-0.001", "Sat, 21 Nov 2026 07:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"]
    )
    def test_what_is_over_already_is_now_and_not_before(self, text: str) -> None:
        assert parsed(text) == 0.0

    @pytest.mark.parametrize("text", ["86401", "99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
    def test_more_than_a_day_is_a_day(self, text: str) -> None:
        assert parsed(text) == LONGEST == 86_400.0

    @pytest.mark.parametrize(
        "text",
        ["", " ", "soon", "5 minutes", "5s", "nan", "inf", "-inf", "5,5", "Sat, 99 Nov 2026", "21 Nov", "\x00", "💥",
         "Fri, 31 Dec 99999 23:59:59 GMT", "Fri, 31 Dec 2026 23:59:59 +9999"],
    )  # fmt: skip
    def test_garbage_is_no_hint(self, text: str) -> None:
        assert parsed(text) is None

    def test_a_year_beyond_all_years_is_no_hint(self) -> None:
        assert parsed("Fri, 31 Dec 99999999999999999999 23:59:59 GMT") is None

    @deterministic
    @given(st.text(max_size=40) | st.integers().map(str) | st.floats().map(str))
    def test_whatever_a_server_says_the_hint_lies_within_a_day(self, text: str) -> None:
        wait = parsed(text)
        assert wait is None or 0.0 <= wait <= LONGEST

    @deterministic
    @given(st.integers(0, 86_400), st.integers(-12, 12))
    def test_a_date_means_the_same_in_every_time_zone(self, wait: int, offset: int) -> None:
        date = (WALL + timedelta(seconds=wait)).astimezone(timezone(timedelta(hours=offset)))
        assert parsed(format_datetime(date)) == pytest.approx(wait)

    def test_a_date_without_a_zone_is_utc_wherever_we_are(self) -> None:
        here = WALL.astimezone(timezone(timedelta(hours=8)))
        hint = parse_retry_after("Sat Nov 21 08:00:05 2026", now=NOW, wall=here)
        assert hint is not None
        assert hint.not_before == pytest.approx(NOW + 5)

    def test_it_says_what_the_peer_said_but_not_all_of_a_novel(self) -> None:
        hint = parse_retry_after("  5  ", now=NOW, wall=WALL)
        assert hint == RetryHint(NOW + 5, reason="Retry-After: 5")
        long = parse_retry_after("0" * 500 + "5", now=NOW, wall=WALL)
        assert long is not None
        assert len(long.reason) < 100

    def test_it_cannot_be_changed(self) -> None:
        with pytest.raises(FrozenInstanceError):
            RetryHint(1.0).not_before = 0.0  # type: ignore[misc]
