"""Which way of showing suits a stdout, and how the end of the demo becomes an exit code."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from tests.surfaces.scenes import HEALED, IN_AN_OUTAGE, NOT_BACK
from tether.surfaces.demo import play as play_module
from tether.surfaces.demo.board import Board
from tether.surfaces.demo.ledger import Ledger
from tether.surfaces.demo.model import Result
from tether.surfaces.demo.play import CANNOT_RUN, NOBODY_WATCHES, play
from tether.surfaces.demo.show import Drawn, Lines, NobodyWatches, show_for
from tether.surfaces.demo.stage import CannotRun, Settings, Stage, first_of
from tether.surfaces.words import Tone


class Stdout(io.TextIOWrapper):
    """A stdout that may be a terminal."""

    def __init__(self, *, tty: bool, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding)
        self.tty = tty

    def isatty(self) -> bool:
        return self.tty

    def text(self) -> str:
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode(self.encoding)


@pytest.fixture(autouse=True)
def a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")


def test_a_terminal_gets_the_view() -> None:
    assert isinstance(show_for(Stdout(tty=True)), Drawn)


def test_a_pipe_gets_lines() -> None:
    assert isinstance(show_for(Stdout(tty=False)), Lines)


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")

    assert isinstance(show_for(Stdout(tty=True)), Lines)


def test_a_terminal_without_unicode_gets_lines_that_do_not_fail() -> None:
    stdout = Stdout(tty=True, encoding="latin-1")
    show = show_for(stdout)
    show.close([HEALED], ["kill -9 → server"], "")

    assert isinstance(show, Lines)
    assert "kill -9 ? server" in stdout.text()


def scene() -> Any:
    board = Board(Ledger(), ["kill -9, restart"], now=lambda: 0.0)
    return SimpleNamespace(board=board, look=lambda: IN_AN_OUTAGE)


async def wait_for(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a thread writes
            await asyncio.sleep(0.001)


def test_lines_are_plain_and_none_is_lost_at_the_end() -> None:
    stdout, stage = Stdout(tty=False), scene()
    stage.board.say("demo", "before anybody listened", Tone.DEED)

    async def main() -> None:
        following = asyncio.create_task(Lines(stdout).follow(stage))
        await wait_for(lambda: "before anybody listened" in stdout.text())
        stage.board.say("tether", "connected", Tone.GOOD)
        stage.board.say("tether", "lost", Tone.BAD)
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following

    asyncio.run(main())

    assert stdout.text().splitlines() == [
        "   0.000  demo    before anybody listened",
        "   0.000  tether  connected",
        "   0.000  tether  lost",
    ]


def test_the_view_is_drawn_and_put_away() -> None:
    stdout, stage = Stdout(tty=True), scene()
    show = show_for(stdout)

    async def main() -> None:
        following = asyncio.create_task(show.follow(stage))
        await wait_for(lambda: stdout.text().count("R E C O N N E C T I N G") > 1)
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following

    asyncio.run(main())
    text = stdout.text()

    assert text.count("\x1b[?2026h") == text.count("\x1b[?2026l") > 2, "frames are shown as a whole"
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor is there again"


def test_a_stdout_that_takes_nothing_ends_the_show() -> None:
    class Broken(Stdout):
        def write(self, text: str) -> int:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    async def main(show: Any) -> None:
        stage = scene()
        stage.board.say("demo", "x", Tone.DEED)
        with pytest.raises(NobodyWatches):
            await first_of(show.follow(stage))

    for tty in (False, True):
        asyncio.run(main(show_for(Broken(tty=tty))))


# -- exit codes -------------------------------------------------------------------------------------------------------


def played(
    monkeypatch: pytest.MonkeyPatch,
    results: Sequence[Result] = (),
    *,
    error: Exception | None = None,
    send: signal.Signals | None = None,
    once: bool = True,
) -> int:
    """Play a demo without a server, that ends with ``results``, by an error or by a signal."""
    board = Board(Ledger(), [result.fault for result in results], now=lambda: 0.0)

    class Scene:
        def __init__(self) -> None:
            self.board, self.look = board, lambda: IN_AN_OUTAGE

        async def perform(self) -> None:
            board.round = 1
            board.results += results
            await asyncio.sleep(0)
            if send is not None:
                os.kill(os.getpid(), send)
                await asyncio.Event().wait()
            if error is not None:
                raise error

    @contextlib.asynccontextmanager
    async def stage(settings: Settings) -> AsyncIterator[Stage]:
        yield Scene()  # type: ignore[misc]

    monkeypatch.setattr(play_module, "stage", stage)
    before = signal.getsignal(signal.SIGINT)
    try:
        return play(Settings(once=once))
    finally:
        signal.signal(signal.SIGINT, before)


def test_zero_when_everything_healed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert played(monkeypatch, [HEALED] * 3) == 0
    out, err = capsys.readouterr()
    assert "All 3 faults healed." in out
    assert err == ""


def test_one_when_something_did_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert played(monkeypatch, [HEALED, HEALED, NOT_BACK]) == 1
    out = capsys.readouterr().out
    assert "1 of 3 faults did NOT heal: clean stop, restart." in out
    assert "NO" in out


def test_one_when_the_tour_was_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    assert played(monkeypatch, [HEALED]) == 1


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_it_with_the_table_so_far(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sent: signal.Signals, code: int
) -> None:
    assert played(monkeypatch, [HEALED], send=sent, once=False) == code
    out = capsys.readouterr().out
    assert "round 1" in out
    assert "kill -9, restart" in out
    assert "1 fault healed." in out


def test_what_is_missing_is_told_in_one_line_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert played(monkeypatch, error=CannotRun("no server; pip install 'tether[demo]'")) == CANNOT_RUN == 69
    assert capsys.readouterr().err == "tether demo: no server; pip install 'tether[demo]'\n"


def test_nobody_watching_is_no_error_to_talk_about(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = NobodyWatches()
    gone.__cause__ = BrokenPipeError(errno.EPIPE, "Broken pipe")

    assert played(monkeypatch, error=gone) == NOBODY_WATCHES == 141
    assert capsys.readouterr().err == ""


def test_a_full_disk_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    full = NobodyWatches()
    full.__cause__ = OSError(errno.ENOSPC, "No space left on device")

    assert played(monkeypatch, error=full) == NOBODY_WATCHES
    assert "No space left on device" in capsys.readouterr().err
