"""Plain lines and the plain table."""

from __future__ import annotations

from tests.surfaces.scenes import CUT_SHORT, FROZEN, HEALED, NOT_BACK, NOT_NOTICED
from tether.surfaces.demo.model import Entry
from tether.surfaces.demo.plain import HEADINGS, cells, line, table
from tether.surfaces.words import Tone


def test_a_change_is_one_line_with_seconds_since_the_start() -> None:
    entry = Entry(1.6049, "tether", "lost: eof (connection dropped)", Tone.BAD)

    assert line(entry) == "   1.605  tether  lost: eof (connection dropped)"


def test_line_breaks_in_a_text_do_not_make_a_second_line() -> None:
    assert line(Entry(0.0, "log", "one\ntwo\r\n  three", Tone.BAD)) == "   0.000  log     one two three"


def test_the_table_says_all_of_every_fault() -> None:
    heading, first, second = table([HEALED, FROZEN])

    assert heading.split() == " ".join(HEADINGS).split()
    assert " ".join(first.split()) == (
        "kill -9, restart 2ms eof (connection dropped), then refused 510ms 5 61 61 0 yes"
    )
    assert " ".join(second.split()) == "freeze, thaw 1.2s timeout (network timeout) 510ms 3 61 61 0 yes"


def test_the_columns_stand_below_their_headings() -> None:
    heading, *rows = table([HEALED, FROZEN, NOT_BACK])

    for column in ("noticed after", "named cause", "back after", "attempts", "healed"):
        place = heading.index(column)
        assert all(row[place - 1] == " " and row[place] != " " for row in rows)


def test_what_never_was_is_a_dash() -> None:
    assert cells(NOT_NOTICED)[1:4] == ("–", "–", "–")
    assert cells(NOT_BACK)[3] == "–"


def test_the_last_word_on_a_fault() -> None:
    assert [cells(result)[-1] for result in (HEALED, NOT_BACK, NOT_NOTICED, CUT_SHORT)] == [
        "yes",
        "NO",
        "NO",
        "cut short",
    ]
