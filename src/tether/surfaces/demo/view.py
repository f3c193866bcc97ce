"""The live view: one snapshot, drawn for a terminal of any size from 60 × 12 up; best from 80 × 24.

States are told by word and shape as well as by colour, so that it reads without any.
"""

from __future__ import annotations

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from tether.core.lifecycle import Status
from tether.surfaces.demo.model import Beat, Entry, Flow, Progress, Snapshot, Step
from tether.surfaces.words import Tone, took

WIDEST = 118
"""Columns from which on more width would only make longer ways for the eye."""

MOST_ENTRIES = 13

ROOMY = 32
"""Rows from which on blank lines part the sections."""

GREEN, RED, YELLOW, BLUE, VIOLET = "#37b24d", "#f03e3e", "#fab005", "#339af0", "#be4bdb"

_COLOURS = {
    Status.CONNECTED: GREEN,
    Status.RECONNECTING: RED,
    Status.CONNECTING: BLUE,
    Status.FAILED: VIOLET,
    Status.DISCONNECTED: "grey50",
}
_TONES = {Tone.GOOD: GREEN, Tone.BAD: RED, Tone.DEED: f"bold {VIOLET}", Tone.ASIDE: "dim"}
_STEPS = {
    Progress.WAITING: ("·", "dim"),
    Progress.RUNNING: ("▶", f"bold {YELLOW}"),
    Progress.HEALED: ("✓", GREEN),
    Progress.NOT_HEALED: ("✗", f"bold {RED}"),
}
_STEP_TEXTS = {
    Progress.WAITING: "dim",
    Progress.RUNNING: "bold",
    Progress.HEALED: "",
    Progress.NOT_HEALED: f"bold {RED}",
}
_BADGE, _SMALL_BADGE = 31, 16
_ROOM_FOR_BADGE = 76
_LABEL = 11
_FIXED_ROWS = 15  # all but the lines of what happened


class View:
    """A snapshot, as something that Rich can print; it takes the size of where it is printed.

    Args:
        snapshot: what to show.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        width = min(options.max_width, WIDEST)
        blank = [Text("")] if options.size.height >= ROOMY else []
        room = max(0, min(MOST_ENTRIES, options.size.height - 1 - _FIXED_ROWS))
        yield from console.render(self._whole(width, room, blank), options.update(width=width, height=None))

    def _whole(self, width: int, room: int, blank: list[Text]) -> RenderableType:
        snapshot = self._snapshot
        parts: list[RenderableType] = [
            _header(snapshot, width),
            _state(snapshot, width),
            *blank,
            _server(snapshot, width),
            _messages(snapshot),
            *_heartbeat(snapshot.beats, width - _LABEL - 2),
            *blank,
            _rule("the tour" if not snapshot.endless else f"the tour, round {snapshot.round}"),
            *(_step(number, step, width) for number, step in enumerate(snapshot.steps, 1)),
        ]
        if room:
            parts += [*blank, _rule("what happened"), *_entries(snapshot.entries, room, width)]
        return Group(*parts)


def _header(snapshot: Snapshot, width: int) -> Text:
    minutes, seconds = divmod(int(snapshot.elapsed), 60)
    right = f"{minutes}:{seconds:02}  Ctrl-C ends "
    left = Text().append(" tether demo ", style="bold")
    about = f" its state: {snapshot.api}" if snapshot.api else " a real server, broken on purpose"
    left.append(about, style="dim")
    return _spread(left, Text(right, style="dim"), width)


def _state(snapshot: Snapshot, width: int) -> Panel:
    """The answer to the first question, as large as a line of text can be."""
    colour = _COLOURS[snapshot.status]
    grid = Table.grid(padding=(0, 3))
    grid.add_row(
        _badge(snapshot.status.value.upper(), colour, spaced=width >= _ROOM_FOR_BADGE), _facts(snapshot)
    )
    return Panel(grid, box=box.ROUNDED, border_style=colour, padding=(0, 1), width=width)


def _badge(word: str, colour: str, *, spaced: bool) -> Text:
    """Three lines of colour with a word in the middle; reversed video, where there is no colour."""
    size = _BADGE if spaced else _SMALL_BADGE
    line, blank = (" ".join(word) if spaced else word).center(size), " " * size
    return Text(f"{blank}\n{line}\n{blank}", style=f"bold {colour} reverse", no_wrap=True)


def _facts(snapshot: Snapshot) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    if snapshot.status is Status.CONNECTED:
        text.append(f"up for {snapshot.status_for:.1f}s\n", style="bold")
        if snapshot.last_outage is not None:
            text.append(f"the outage before took {took(snapshot.last_outage)}", style="dim")
        text.append("\n")
        return text if snapshot.server_ok else text.append("not noticed yet", style=YELLOW)
    text.append(f"down for {snapshot.status_for:.1f}s   attempt {snapshot.attempt}\n", style="bold")
    text.append_text(_countdown(snapshot))
    cause = snapshot.cause
    if cause is not None:
        text.append(f"\n{cause.code.value}", style=f"bold {RED}")
        text.append(f"  {cause.label()}", style=RED)
    return text


def _countdown(snapshot: Snapshot) -> Text:
    if snapshot.next_in is None:
        return Text("trying now …", style="bold")
    whole = max(snapshot.next_of or 0.0, snapshot.next_in, 0.001)
    left = round(10 * snapshot.next_in / whole)
    text = Text(f"next try in {snapshot.next_in:.1f}s  ")
    text.append("━" * left, style=YELLOW)
    text.append("━" * (10 - left), style="grey30")
    return text


def _server(snapshot: Snapshot, width: int) -> Text:
    left = _label("server")
    left.append(snapshot.server, style=f"bold {VIOLET}")
    left.append(f"  {snapshot.server_for:.1f}s ago", style="dim")
    right = Text()
    if snapshot.mend_in is not None:
        right = Text(f"{snapshot.mend} {snapshot.mend_in:.1f}s ", style=VIOLET)
    return _spread(left, right, width)


def _messages(snapshot: Snapshot) -> Text:
    counts = snapshot.counts
    text = _label("messages")
    for name, value, style in (
        ("out", counts.sent, "bold"),
        ("in", counts.received, "bold"),
        ("missed", counts.missed, f"bold {RED if counts.missed else GREEN}"),
        ("not sent", counts.refused, ""),
        ("unsure", counts.unsure, ""),
    ):
        text.append(f"{name} ", style="dim")
        text.append(f"{value:<7}", style=style)
    return text


def _heartbeat(beats: tuple[Beat, ...], room: int) -> tuple[Text, Text]:
    """The strip, the newest sample on the right, and below it what the demo did and when."""
    shown = beats[-room:] if room > 0 else ()
    strip, marks = _label("heartbeat"), [" "] * room
    indent = room - len(shown)
    strip.append(" " * indent)
    for place, beat in enumerate(shown, indent):
        strip.append_text(_block(beat))
        if beat.mark:
            word = f"▲{beat.mark}"
            word = word if place + len(word) <= room else "▲"
            marks[place : place + len(word)] = word
    return strip, _label("").append("".join(marks), style="dim")


def _block(beat: Beat) -> Text:
    if beat.flow is Flow.FLOWING:
        return Text("▂▃▄▅▆▇"[min(5, int(beat.level * 6))], style=GREEN)
    if beat.flow is Flow.SILENT:
        return Text("▁", style=YELLOW)
    return Text("▒", style=RED)


def _step(number: int, step: Step, width: int) -> Text:
    sign, style = _STEPS[step.progress]
    text = Text(no_wrap=True, overflow="ellipsis").append(f" {sign} ", style=style)
    text.append(f"{number} {step.name:<21}{step.text}", style=_STEP_TEXTS[step.progress])
    text.truncate(width, overflow="ellipsis")
    return text


def _entries(entries: tuple[Entry, ...], room: int, width: int) -> list[Text]:
    shown: list[Text] = []
    for entry in entries[-room:]:
        text = Text(no_wrap=True).append(f"{entry.at:7.1f}s  {entry.who:<7} ", style="dim")
        text.append(entry.text, style=_TONES[entry.tone])
        text.truncate(width - 1, overflow="ellipsis")
        shown.append(text)
    return shown + [Text("")] * (room - len(shown))


def _rule(title: str) -> Rule:
    return Rule(Text(title, style="dim"), style="grey30", align="left")


def _label(word: str) -> Text:
    return Text(no_wrap=True, overflow="ellipsis").append(f" {word:<{_LABEL - 1}}", style="dim")


def _spread(left: Text, right: Text, width: int) -> Text:
    """One line: ``left`` and ``right`` at their ends; what does not fit is cut from ``left``."""
    room = width - right.cell_len
    left = left.copy()
    left.truncate(max(0, room), overflow="ellipsis", pad=True)
    line = Text(no_wrap=True, overflow="crop")
    return line.append_text(left).append_text(right)
