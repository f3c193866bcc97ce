"""The live view, state by state, on snapshots that do not change."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.surfaces.scenes import ALL_IS_WELL, DOWN, IN_AN_OUTAGE, UP, shown
from tether.core.lifecycle import Status
from tether.surfaces.demo.model import Beat, Counts, Entry, Flow, Progress, Snapshot, Step
from tether.surfaces.demo.view import View
from tether.surfaces.words import Tone


def rows(snapshot: Snapshot, *, width: int = 80, height: int = 24) -> list[str]:
    return shown(View(snapshot), width=width, height=height).splitlines()


def row_with(word: str, snapshot: Snapshot, *, width: int = 80) -> str:
    (found,) = [row for row in rows(snapshot, width=width) if word in row]
    return found


def test_an_outage_shows_state_duration_attempt_countdown_and_cause() -> None:
    text = shown(View(IN_AN_OUTAGE))

    assert "R E C O N N E C T I N G" in text
    assert "down for 3.1s   attempt 4" in text
    assert re.search(r"next try in 0\.8s +━{10}", text)
    assert "refused  connection refused" in text


def test_the_countdown_bar_shrinks() -> None:
    whole = shown(View(replace(IN_AN_OUTAGE, next_in=1.6)), color_system="truecolor")
    half = shown(View(IN_AN_OUTAGE), color_system="truecolor")

    assert "━" * 10 in whole
    assert "━" * 10 not in half, "one part of the bar has another colour"
    assert half.count("━" * 5) == 2


def test_while_it_dials_there_is_no_countdown() -> None:
    text = shown(View(replace(IN_AN_OUTAGE, next_in=None)))

    assert "trying now" in text
    assert "next try in" not in text


def test_connected_shows_no_cause() -> None:
    text = shown(View(ALL_IS_WELL))

    assert "C O N N E C T E D" in text
    assert "up for 3.1s" in text
    assert "the outage before took 3.8s" in text
    assert "refused" not in text
    assert "attempt" not in text


def test_a_broken_server_that_nobody_has_noticed_yet_is_called_that() -> None:
    frozen = replace(ALL_IS_WELL, server="kill -STOP → server: frozen", server_ok=False)

    assert "C O N N E C T E D" in shown(View(frozen))
    assert "not noticed yet" in shown(View(frozen))
    assert "not noticed yet" not in shown(View(ALL_IS_WELL))


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_its_badge_and_a_colour_of_its_own(status: Status) -> None:
    snapshot = replace(IN_AN_OUTAGE, status=status)
    drawn = shown(View(snapshot), color_system="truecolor")
    badge = re.search(r"\x1b\[1;7;([0-9;]+)m +" + " ".join(status.value.upper()), drawn)

    assert badge is not None
    others = (replace(IN_AN_OUTAGE, status=other) for other in Status if other is not status)
    for other in others:
        assert f"\x1b[1;7;{badge[1]}m" not in shown(View(other), color_system="truecolor")


def test_what_the_demo_did_and_will_do_next_stands_in_one_row() -> None:
    assert re.fullmatch(
        r" server +kill -9 → server  3\.2s ago +restart in 1\.3s *",
        row_with("kill -9 → server  ", IN_AN_OUTAGE),
    )
    assert "restart in" not in "".join(rows(ALL_IS_WELL))


def test_all_fates_of_messages_are_counted() -> None:
    assert re.fullmatch(
        r" messages  out 412 +in 411 +missed 1 +not sent 57 +unsure 2 *", row_with("messages", IN_AN_OUTAGE)
    )


def test_missed_messages_have_another_colour_than_none() -> None:
    def colour_of_missed(count: int) -> str:
        snapshot = replace(IN_AN_OUTAGE, counts=Counts(sent=9, received=9 - count, missed=count))
        found = re.search(
            r"missed \x1b\[0m\x1b\[1;([0-9;]+)m", shown(View(snapshot), color_system="truecolor")
        )
        assert found is not None
        return found[1]

    assert colour_of_missed(0) != colour_of_missed(1) == colour_of_missed(2)


def test_the_heartbeat_is_told_by_shape_too_newest_on_the_right() -> None:
    strip = row_with("heartbeat", IN_AN_OUTAGE)

    assert strip.rstrip().endswith("▇▇▅▁▒▒")


def test_a_fault_is_marked_below_the_sample_in_which_it_happened() -> None:
    beats = (Beat(Flow.FLOWING, 1.0, "kill -9"), *[DOWN] * 12)
    text = rows(replace(IN_AN_OUTAGE, beats=beats))
    strip = next(i for i, row in enumerate(text) if "heartbeat" in row)

    assert text[strip + 1].index("▲kill -9") == text[strip].index("▇")


def test_a_mark_that_does_not_fit_yet_is_an_arrow_only() -> None:
    text = rows(replace(IN_AN_OUTAGE, beats=(UP, Beat(Flow.DOWN, 0.0, "freeze"))))

    assert any(row.rstrip().endswith("▲") for row in text)
    assert "▲fr" not in "".join(text)


def test_the_strip_shows_as_many_samples_as_fit() -> None:
    many = replace(IN_AN_OUTAGE, beats=(UP,) * 200)

    assert row_with("heartbeat", many, width=80).count("▇") == 67
    assert row_with("heartbeat", many, width=100).count("▇") == 87


def test_the_tour_shows_how_far_it_is() -> None:
    steps = (
        Step("kill -9, restart", Progress.HEALED, "noticed after 2ms"),
        Step("freeze, thaw", Progress.NOT_HEALED, "not noticed"),
        Step("clean stop, restart", Progress.RUNNING, "not noticed yet"),
        Step("more", Progress.WAITING),
    )
    text = shown(View(replace(IN_AN_OUTAGE, steps=steps)), height=30)

    assert re.search(r"✓ 1 kill -9, restart +noticed after 2ms", text)
    assert re.search(r"✗ 2 freeze, thaw +not noticed", text)
    assert re.search(r"▶ 3 clean stop, restart +not noticed yet", text)
    assert "· 4 more" in text


def test_an_endless_tour_counts_its_rounds() -> None:
    assert "the tour, round 7" in shown(View(replace(IN_AN_OUTAGE, endless=True, round=7)))
    assert "round" not in shown(View(IN_AN_OUTAGE))


def test_the_latest_lines_of_what_happened_are_shown() -> None:
    entries = tuple(Entry(float(number), "tether", f"line {number}", Tone.ASIDE) for number in range(100))
    text = shown(View(replace(IN_AN_OUTAGE, entries=entries)))

    assert "99.0s  tether  line 99" in text
    assert "line 92" in text
    assert "line 91" not in text


def test_a_line_that_is_too_long_is_cut_and_nothing_wraps() -> None:
    entry = Entry(1.0, "log", "a very long line " * 20, Tone.BAD)
    text = rows(replace(IN_AN_OUTAGE, entries=(entry,)))

    assert len(text) == len(rows(IN_AN_OUTAGE))
    assert any("a very long line" in row and row.rstrip().endswith("…") for row in text)


@pytest.mark.parametrize(
    ("width", "height"), [(80, 24), (120, 40), (100, 30), (100, 32), (200, 60), (72, 24)]
)
@pytest.mark.parametrize("snapshot", [IN_AN_OUTAGE, ALL_IS_WELL])
def test_it_fits_and_keeps_its_height_from_frame_to_frame(
    snapshot: Snapshot, width: int, height: int
) -> None:
    text = rows(snapshot, width=width, height=height)

    assert len(text) < height
    assert len(text) == len(
        rows(replace(snapshot, entries=snapshot.entries * 30), width=width, height=height)
    )
    assert max(map(len, text)) <= width


@pytest.mark.parametrize("size", [(60, 16), (40, 10), (20, 5), (5, 3)])
def test_a_terminal_that_is_too_small_gets_what_fits(size: tuple[int, int]) -> None:
    width, height = size
    text = rows(IN_AN_OUTAGE, width=width, height=height)

    assert max(map(len, text)) <= width
    assert width < 40 or "RECONNECTING" in "".join(text)


def test_without_colours_the_state_is_still_set_off() -> None:
    drawn = shown(View(IN_AN_OUTAGE), color_system="truecolor", no_color=True)

    assert re.search(r"\x1b\[1;7m +R E C O N N E C T I N G", drawn)
    assert "38;2" not in drawn
