"""Prints the live feed until Ctrl-C; when the daemon goes away, waits for it and goes on where it was."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import stat
import sys
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.text import Text

from tether import Reconnector
from tether.backoff import exponential_backoff
from tether.core.events import Kind, ReconnectEvent
from tether.errors import NotConnected, TetherError
from tether.surfaces.client.ask import NOT_ALLOWED, UNREACHABLE, AskFailed, unreachable
from tether.surfaces.client.feed import FeedConnector, Listening, event_of
from tether.surfaces.client.target import Target
from tether.surfaces.words import Tone, tell

_STYLES = {Tone.GOOD: "green", Tone.BAD: "red", Tone.DEED: "cyan", Tone.ASIDE: "dim"}

_WIDEST_NAME = 24
"""Columns; longer names push their line to the right."""

_TOLD_BY_OTHERS = {Kind.ATTEMPT_STARTED, Kind.ATTEMPT_FAILED}
"""``retry_scheduled`` and ``gave_up`` say it in one line."""


class NobodyReads(TetherError):
    """Stdout was closed by whoever read it."""


class _Console(Console):
    """A console that tells of a broken pipe, where Rich's own would end the process."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Printer:
    """Prints what comes, one line each, until nobody reads any more.

    Args:
        console: by default, stdout.
        as_json: an object a line, as the API sent it, instead of words.

    Attributes:
        closed: set when nobody reads any more.
    """

    def __init__(self, console: Console | None = None, *, as_json: bool) -> None:
        self._console, self._as_json = console or _Console(highlight=False), as_json
        self._width = 0
        self.closed = asyncio.Event()

    def __call__(self, name: str, data: dict[str, Any]) -> None:
        """Print one frame of the feed."""
        try:
            self._print(name, data)
        except BrokenPipeError:
            self.closed.set()

    def _print(self, name: str, data: dict[str, Any]) -> None:
        if self._as_json:
            shown = data if name == "message" else {"kind": name, **data}
            self._console.out(json.dumps(shown, ensure_ascii=False), highlight=False)
        elif name == "missed":
            self._console.print(_missed(data))
        elif (event := event_of(data)) is not None and event.kind not in _TOLD_BY_OTHERS:
            self._width = max(self._width, min(len(event.connection), _WIDEST_NAME))
            self._console.print(line(event, self._width), soft_wrap=True)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Notice a closed pipe at once, not with the next line: that may be long in coming."""
        loop, out = asyncio.get_running_loop(), self._console.file
        try:
            number = out.fileno()
            watched = stat.S_ISFIFO(os.fstat(number).st_mode) or stat.S_ISSOCK(os.fstat(number).st_mode)
        except (OSError, ValueError):  # not a file of the system's
            watched = False
        if watched:
            # Nothing is ever read from it: only its error makes it ready.
            loop.add_reader(number, self.closed.set)
        try:
            yield
        finally:
            if watched:
                loop.remove_reader(number)


def line(event: ReconnectEvent, width: int = 0) -> Text:
    """Return an event as a line: time of day, connection (``width`` columns at least), what happened."""
    words, tone = tell(event) or (event.kind.value.replace("_", " "), Tone.ASIDE)
    text = Text()
    text.append(f"{event.timestamp.astimezone():%H:%M:%S}  ", "dim")
    text.append(f"{event.connection:<{width}}  ", "bold")
    text.append(words, _STYLES[tone])
    was_told = event.kind is Kind.RETRY_SCHEDULED and event.retry_count != 1  # the loss, or the first failure
    if event.message and not was_told:
        text.append(f"  {event.message}", "dim")
    return text


def _missed(data: dict[str, Any]) -> Text:
    if data.get("reason") == "restarted":
        return Text("-- the daemon was restarted; what it has told since follows --", "yellow")
    return Text(f"-- {data.get('missed')} events were missed --", "yellow")


async def follow(target: Target, printer: Printer, *, connection: str, replay: int) -> None:
    """Print the feed for ever.

    Raises:
        AskFailed: the API cannot be reached at first, or refuses.
        NobodyReads: stdout was closed.
    """
    feed = FeedConnector(target, printer, connection=connection, replay=replay)
    keeper: Reconnector[Listening] = Reconnector(
        feed,
        name=f"the feed of {target.url}",
        retry_interval=exponential_backoff(0.5, 2, maximum=10, jitter=0.1),
        health_check_interval=15,
        health_check_timeout=5,
        subscribers=[_tell_trouble],
        logger=_silent(),
    )
    try:
        await keeper.start(require_initial=True)
        with printer.watched():
            await _until_over(keeper, printer)
    except NotConnected as error:  # nobody there at first
        raise _why(target, error) from None
    finally:
        await keeper.stop()
        await feed.settled()


async def _until_over(keeper: Reconnector[Listening], printer: Printer) -> None:
    """Wait until nobody reads, or the daemon is back and refuses: another token would be needed."""
    listening = asyncio.create_task(_refusal(keeper))
    closing = asyncio.create_task(printer.closed.wait())
    try:
        await asyncio.wait({listening, closing}, return_when=asyncio.FIRST_COMPLETED)
        if listening.done():
            raise listening.result()
        raise NobodyReads("nobody reads any more")
    finally:
        for task in (listening, closing):
            task.cancel()
        await asyncio.gather(listening, closing, return_exceptions=True)


async def _refusal(keeper: Reconnector[Listening]) -> AskFailed:
    async for event in keeper.events():
        if isinstance(event.error, AskFailed) and event.error.exit_code == NOT_ALLOWED:
            return event.error
    return AskFailed("the feed ended", UNREACHABLE)


def _silent() -> logging.Logger:
    """Return a logger that says nothing: what matters here is told by ``_tell_trouble``."""
    logger = logging.getLogger("tether.tail")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger


def _why(target: Target, error: NotConnected) -> AskFailed:
    cause = error.__cause__
    if isinstance(cause, AskFailed):
        return cause
    return unreachable(target, cause if isinstance(cause, Exception) else error)


def _tell_trouble(event: ReconnectEvent) -> None:
    if event.kind in {Kind.LOST, Kind.RECONNECTED}:
        words, _ = tell(event) or ("", Tone.ASIDE)
        waiting = "; waiting for it to come back, Ctrl-C ends" if event.kind is Kind.LOST else ""
        sys.stderr.write(f"tether: {event.connection}: {words}{waiting}\n")
