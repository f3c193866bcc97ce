"""Keeps log lines from garbling the view: they become lines of what happened."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from tether.core.redact import redact
from tether.surfaces.demo.board import Board
from tether.surfaces.words import Tone


class _ToBoard(logging.Handler):
    """Hands warnings to the board, except those that tell an event: the board has heard that already."""

    def __init__(self, board: Board) -> None:
        super().__init__(logging.WARNING)
        self._board = board

    def emit(self, record: logging.LogRecord) -> None:
        if not hasattr(record, "tether"):
            self._board.say("log", redact(record.getMessage().partition("\n")[0]), Tone.BAD)


@contextmanager
def logs_on(board: Board) -> Iterator[None]:
    """Have all logging of the process shown on ``board`` and nowhere else."""
    root, handler = logging.getLogger(), _ToBoard(board)
    before, root.handlers[:] = root.handlers[:], [handler]
    try:
        yield
    finally:
        root.handlers[:] = before
