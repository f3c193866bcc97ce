"""Prints the live feed until Ctrl-C; when the daemon goes away, waits for it and goes on where it was."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from tether import Reconnector
from tether.backoff import exponential_backoff
from tether.core.events import Kind, ReconnectEvent
from tether.errors import NotConnected
from tether.surfaces.client.ask import NOT_ALLOWED, AskFailed, unreachable
from tether.surfaces.client.feed import FeedConnector, Listening, event_of
from tether.surfaces.client.target import Target
from tether.surfaces.words import Tone, tell

_STYLES = {Tone.GOOD: "green", Tone.BAD: "red", Tone.DEED: "cyan", Tone.ASIDE: "dim"}

_TOLD_BY_OTHERS = {Kind.ATTEMPT_STARTED, Kind.ATTEMPT_FAILED}
"""``retry_scheduled`` and ``gave_up`` say it in one line."""


class Printer:
    """Prints what comes, one line each.

    Args:
        console: on stdout.
        as_json: an object a line, as the API sent it, instead of words.
    """

    def __init__(self, console: Console, *, as_json: bool) -> None:
        self._console, self._as_json = console, as_json

    def __call__(self, name: str, data: dict[str, Any]) -> None:
        """Print one frame of the feed."""
        if self._as_json:
            shown = data if name == "message" else {"kind": name, **data}
            self._console.out(json.dumps(shown, ensure_ascii=False), highlight=False)
        elif name == "missed":
            self._console.print(_missed(data))
        elif (event := event_of(data)) is not None and event.kind not in _TOLD_BY_OTHERS:
            self._console.print(line(event), soft_wrap=True)


def line(event: ReconnectEvent) -> Text:
    """Return an event as a line: time of day, connection, what happened."""
    words, tone = tell(event) or (event.kind.value.replace("_", " "), Tone.ASIDE)
    text = Text()
    text.append(f"{event.timestamp.astimezone():%H:%M:%S}  ", "dim")
    text.append(f"{event.connection}  ", "bold")
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
        async for event in keeper.events():
            if isinstance(event.error, AskFailed) and event.error.exit_code == NOT_ALLOWED:
                raise event.error  # the daemon is back, and refuses: another token would be needed
    except NotConnected as error:  # nobody there at first
        raise _why(target, error) from None
    finally:
        await keeper.stop()
        await feed.settled()


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
        sys.stderr.write(f"tether: {event.connection}: {words}\n")
