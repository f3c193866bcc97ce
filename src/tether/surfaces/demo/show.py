"""Writes to stdout while the demo runs: the live view into a terminal, plain lines into anything else.

Writing happens on a thread: a pipe that nobody reads, or Ctrl-S, must not stop what is being shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, Protocol, TextIO, TypeVar, cast

from rich.console import Console
from rich.live import Live
from rich.padding import Padding
from rich.text import Text

from tether.surfaces.demo import plain, report
from tether.surfaces.demo.model import Entry, Result, RoundEnded
from tether.surfaces.demo.stage import Stage
from tether.surfaces.demo.view import View

T = TypeVar("T")

FRAMES = 10.0
"""Per second."""

_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"


class NobodyWatches(Exception):
    """Stdout takes nothing any more."""


class Show(Protocol):
    """One way to show the demo."""

    async def follow(self, stage: Stage) -> None:
        """Show what happens, until cancelled.

        Raises:
            NobodyWatches: nobody can see it any more.
        """

    def close(self, results: Sequence[Result], verdict: Sequence[str], title: str) -> None:
        """Show the closing table, and what it means."""


def show_for(stdout: TextIO) -> Show:
    """Return what suits ``stdout``: a terminal that can move its cursor gets the view."""
    console = _Console(file=cast("IO[str]", _Whole(stdout)), highlight=False)
    can_draw = stdout.isatty() and not console.is_dumb_terminal
    if can_draw and (stdout.encoding or "").lower().replace("-", "").startswith("utf"):
        return Drawn(console)
    if isinstance(stdout, io.TextIOWrapper):
        stdout.reconfigure(errors="replace")  # an arrow that the encoding does not have is no reason to fail
    return Lines(stdout)


class _Console(Console):
    """A console that tells of a broken pipe, where Rich's own would end the process."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


class Pen:
    """Runs what may block on a write, in order, on one thread."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "tether-demo-pen")

    async def do(self, write: Callable[..., T], *args: Any) -> T:
        """Run ``write(*args)``.

        Raises:
            NobodyWatches: it raised an OSError.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, write, *args)
        except OSError as error:
            raise NobodyWatches from error


class Drawn:
    """The live view.

    Args:
        console: on a terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rounds: list[RoundEnded] = []
        self._live: Live | None = None
        self._size = console.size

    async def follow(self, stage: Stage) -> None:
        """Draw the view ten times a second; tables of whole rounds go above it."""
        pen = Pen()
        stage.board.listen(self._hear)
        try:
            while True:
                await pen.do(self._draw, View(stage.look()))
                await asyncio.sleep(1 / FRAMES)
        finally:
            await pen.do(self._put_away)

    def _hear(self, news: Entry | RoundEnded) -> None:
        if isinstance(news, RoundEnded):
            self._rounds.append(news)

    def _draw(self, view: View) -> None:
        if self._console.size != self._size:
            # The terminal has broken its lines anew: nobody knows where they are.
            self._size = self._console.size
            self._put_away()
            self._console.clear()
        if self._live is None:
            live = Live(
                view, console=self._console, auto_refresh=False, transient=True, vertical_overflow="crop"
            )
            live.start()
            self._live = live  # one that could not start cannot be stopped either
        while self._rounds:
            ended = self._rounds.pop(0)
            self._console.print(self._table(ended.results, f"round {ended.results[0].round}"))
        self._live.update(view, refresh=True)

    def _put_away(self) -> None:
        if self._live is not None:
            with contextlib.suppress(OSError):
                self._live.stop()
            self._live = None

    def _table(self, results: Sequence[Result], title: str) -> Padding:
        return Padding(report.table(results, title=title, width=self._console.width), (1, 1))

    def close(self, results: Sequence[Result], verdict: Sequence[str], title: str) -> None:
        """Print the closing table, and what it means."""
        if results:
            self._console.print(self._table(results, title))
        for number, said in enumerate(verdict):
            self._console.print(Text(f" {said}", style="dim" if number else "bold"))


class _Whole:
    """A terminal's stream that asks for each write to be shown as a whole; terminals that cannot, ignore it."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, text: str) -> int:
        return self._file.write(f"{_BEGIN}{text}{_END}" if text else text)


class Lines:
    """Plain lines.

    Args:
        file: where to.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    async def follow(self, stage: Stage) -> None:
        """Write one line per change, and the table of each round."""
        pen, news = Pen(), asyncio.Queue[Entry | RoundEnded]()
        stage.board.listen(news.put_nowait)
        try:
            while True:
                await pen.do(self._write, self._lines(await news.get()))
        finally:
            while not news.empty():
                await pen.do(self._write, self._lines(news.get_nowait()))

    @staticmethod
    def _lines(news: Entry | RoundEnded) -> list[str]:
        return [plain.line(news)] if isinstance(news, Entry) else ["", *plain.table(news.results), ""]

    def close(self, results: Sequence[Result], verdict: Sequence[str], title: str) -> None:
        """Write the closing table, and what it means."""
        table = ["", *([title] if title else []), *plain.table(results)] if results else []
        self._write([*table, "", *verdict])

    def _write(self, lines: Sequence[str]) -> None:
        self._file.write("".join(f"{line}\n" for line in lines))
        self._file.flush()


def say(text: str) -> None:
    """Say something that is no data, on stderr."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or not there at all
        sys.stderr.write(f"tether demo: {text}\n")
        sys.stderr.flush()
