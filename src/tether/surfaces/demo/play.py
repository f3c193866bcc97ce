"""Plays the demo from its first line to its exit code."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self, TextIO

from tether.surfaces.demo import report
from tether.surfaces.demo.board import Board
from tether.surfaces.demo.show import NobodyWatches, Show, say, show_for
from tether.surfaces.demo.stage import CannotRun, Settings, first_of, stage
from tether.surfaces.demo.tour import FAULTS

CANNOT_RUN = 69
"""EX_UNAVAILABLE: something that the demo needs is missing or does not work."""

NOBODY_WATCHES = 128 + 13
"""What a shell says of a program that SIGPIPE ended."""


def play(settings: Settings) -> int:
    """Play the demo, and return the exit code."""
    if sys.platform == "win32":
        say("its server does not run on Windows; try it in WSL")
        return CANNOT_RUN
    with _stdout() as stdout:
        return asyncio.run(_play(settings, show_for(stdout)))


async def _play(settings: Settings, show: Show) -> int:
    playing = asyncio.current_task()
    assert playing is not None
    boards: list[Board] = []  # there is none if the signal comes before it
    with _Signals(playing) as signals:
        code = 0
        try:
            await _perform(settings, show, signals, boards)
        except asyncio.CancelledError:
            if signals.number is None:
                raise
            playing.uncancel()
            code = 128 + signals.number
        except CannotRun as error:
            say(str(error))
            code = CANNOT_RUN
        except NobodyWatches as error:
            code = NOBODY_WATCHES
            if not isinstance(error.__cause__, BrokenPipeError):
                say(f"stdout takes nothing any more: {error.__cause__}")
    return _close(show, boards[0], settings, code) if boards else code


async def _perform(settings: Settings, show: Show, signals: _Signals, boards: list[Board]) -> None:
    async with stage(settings) as scene:
        boards.append(scene.board)
        try:
            await first_of(scene.perform(), show.follow(scene))
        finally:
            signals.disarm()
            scene.board.break_off()


def _close(show: Show, board: Board, settings: Settings, code: int) -> int:
    """Show the table so far, and return the exit code."""
    results = [*board.earlier, *board.results]
    with contextlib.suppress(OSError):
        title = "" if settings.once else f"round {board.round}"
        show.close(board.results, report.verdict(results), title)
    return code or report.exit_code(results, len(FAULTS))


class _Signals:
    """Turns the first SIGINT, SIGTERM or SIGHUP into a cancellation; what is being ended already is left in peace.

    Attributes:
        number: the signal that came, if any.
    """

    def __init__(self, task: asyncio.Task[int]) -> None:
        self._task: asyncio.Task[int] | None = task
        self._loop = asyncio.get_running_loop()
        self.number: int | None = None

    def __enter__(self) -> Self:
        for number in self._all():
            self._loop.add_signal_handler(number, self._take, number)
        return self

    def __exit__(self, *exc: object) -> None:
        for number in self._all():
            self._loop.remove_signal_handler(number)
        if self.number == signal.SIGINT:  # all is being ended: a second Ctrl-C must not cut the closing table
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    @staticmethod
    def _all() -> tuple[int, ...]:
        return signal.SIGINT, signal.SIGTERM, signal.SIGHUP

    def _take(self, number: int) -> None:
        if self.number is None and self._task is not None:
            self.number = number
            self._task.cancel()

    def disarm(self) -> None:
        """From now on, take signals and do nothing."""
        self._task = None


@contextlib.contextmanager
def _stdout() -> Iterator[TextIO]:
    """Give stdout, or nothing in its place; one that is broken must not be complained of when Python ends."""
    if sys.stdout is None:  # whoever started us has closed it
        with Path(os.devnull).open("w", encoding="utf-8") as nothing:
            yield nothing
        return
    yield sys.stdout
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
